"""docs/recipes.md: its commands run, word for word, and its recipe is one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from emulators.hub import weights
from tests.conftest import ROOT, picture
from tests.recipes.conftest import RECIPES, kitchen

DOCUMENT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
(TOML,) = [block for block in re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL) if block.startswith("title")]
SHELL = 'curl() { command curl --fail-with-body --silent --show-error "$@"; }\n'


def shell(script: str, folder: Path, address: str) -> str:
    """What the commands print, with the door at `address`; a server is started by nobody."""
    own = script.replace("http://127.0.0.1:8000", address).replace("scripts/run-local.sh\n", "")
    own = own.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    command = ["bash", "-euo", "pipefail", "-c", SHELL + own]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_commands_of_the_docs_do_what_they_say(tmp_path: Path):
    checkout = tmp_path / "checkout"
    shutil.copytree(RECIPES, checkout / "recipes")
    (checkout / "examples").symlink_to(ROOT / "examples")
    asking = [block for block in COMMANDS if "$url" in block]
    making, listing, sending = [block for block in COMMANDS if "$url" not in block]
    upscaler = tmp_path / "comfyui" / "models" / "upscale_models" / "quickstart-4x.safetensors"
    upscaler.parent.mkdir(parents=True)
    upscaler.write_bytes(weights.upscaler())

    shell(making, checkout, "")
    (checkout / "recipes" / "enlarge" / "recipe.toml").write_text(TOML, encoding="utf-8")
    listed = shell(listing, checkout, "")
    with kitchen(tmp_path, {"RECIPES_DIR": str(checkout / "recipes")}) as door:
        shell("".join(asking), checkout, door.url)
        views = json.loads((checkout / "answer.json").read_text())["images"]
        shell(sending, checkout, door.url)
        enlarged = json.loads((checkout / "answer.json").read_text())

    assert "/recipes/enlarge" in listed
    assert [view["perspective_id"] for view in views] == ["left", "top"]
    assert (checkout / "left.png").read_bytes() != (checkout / "top.png").read_bytes()
    assert picture({"data": enlarged["image"]}).width == 4 * width_of(ROOT / "examples" / "quickstart" / "input.png")
    assert enlarged["name"] == "large"


def width_of(file: Path) -> int:
    with Image.open(file) as opened:
        return opened.width


def test_the_parameters_of_multi_view_in_the_docs_are_its_own():
    recipe = (RECIPES / "multi-view" / "recipe.toml").read_text(encoding="utf-8")
    declared = re.findall(r"^\[parameters\.([a-z_]+)\]", recipe, re.MULTILINE)
    table = DOCUMENT.split("| parameter | default |")[1].split("```")[0]

    assert re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE) == declared
