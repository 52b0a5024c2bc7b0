"""Doors that serve recipes; their ComfyUI is an emulator in this process, so that it can be looked into."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from comfyport.comfyui.needs import model_files
from emulators.comfyui import ComfyUIEmulator
from tests import workflows
from tests.conftest import ROOT, TINY_CHECKPOINT, png
from tests.serve.conftest import Address, open_door

RECIPES = ROOT / "recipes"
PHOTO = png((40, 30), (200, 40, 40))
PATIENCE = 60.0

PLAIN = """
title = "A square"

[parameters.colour]
type = "integer"
description = "0xRRGGBB."
default = 7
minimum = 0
maximum = 0xFFFFFF
set = ["11.color"]

[answer]
file = { file = "13" }
"""

SQUARES = """
title = "Squares"
for_each = "squares"

[parameters.squares]
type = "list"
description = "The squares."
max_items = 8

[parameters.squares.fields.colour]
type = "integer"
description = "0xRRGGBB."
set = ["11.color"]

[parameters.squares.fields.steps]
type = "integer"
description = "Each takes a while."
default = 1
set = ["4.steps"]

[answer.results.each]
colour = { parameter = "squares.colour" }
file = { file = "13" }
"""


def bring_models(folder: Path) -> None:
    """Puts a file without weights below `models/` of `folder` for each that the shipped recipes need."""
    for workflow in RECIPES.glob("*/workflow.json"):
        for file in model_files(json.loads(workflow.read_text())):
            if file.name.endswith(".safetensors"):
                place = folder / "models" / file.folder / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(TINY_CHECKPOINT)


def write_recipe(folder: Path, name: str, toml: str, workflow: Any) -> Path:
    """A recipe below `folder`; the folder."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "recipe.toml").write_text(toml, encoding="utf-8")
    text = workflow if isinstance(workflow, str) else json.dumps(workflow)
    (place / "workflow.json").write_text(text, encoding="utf-8")
    return folder


def squares(folder: Path) -> Path:
    """A recipe of a user's own below `folder`: `squares`, each with a sampler beside it that takes its time."""
    sampling = workflows.sampled("v1-5-pruned-emaonly-fp16.safetensors")
    return write_recipe(folder, "squares", SQUARES, {**sampling, **square()})


def square() -> dict[str, Any]:
    """A picture of one colour as `11`, saved by `13`."""
    return {
        "11": workflows.node("EmptyImage", width=16, height=8, batch_size=1, color=0),
        "13": workflows.node("SaveImage", images=["11", 0], filename_prefix="square"),
    }


def views(*ids: str, **more: Any) -> dict[str, Any]:
    """A request for these views of the photo, small ones."""
    perspectives = [{"id": id, "name": f"View {id}", "prompt": f"seen from the {id}"} for id in ids]
    return {"image": PHOTO, "perspectives": perspectives, "megapixels": 0.1, "steps": 1, **more}


class Kitchen(Address):
    """A door and the ComfyUI behind it."""

    def __init__(self, door: Address, comfyui: ComfyUIEmulator) -> None:
        self.container, self.url = door.container, door.url
        self.comfyui = comfyui

    @property
    def sent(self) -> int:
        """How many prompts ComfyUI has been given."""
        return len(self.comfyui.prompts)

    def wait_for_prompt(self, number: int) -> None:
        """Returns when ComfyUI has been given so many."""
        wait_until(lambda: self.sent >= number, f"ComfyUI has {number} prompts")

    def wait_until_idle(self) -> None:
        """Returns when ComfyUI runs nothing, and nothing waits there or at the door."""
        wait_until(self._is_idle, "nothing runs or waits")

    def _is_idle(self) -> bool:
        queue = requests.get(f"{self.comfyui.url}/queue", timeout=30).json()
        jobs = self.jobs()
        return not any(queue.values()) and not jobs["inQueue"] and not jobs["inProgress"]

    def jobs(self) -> dict[str, int]:
        """The door's jobs by state."""
        jobs: dict[str, int] = self.get("/health").json()["jobs"]
        return jobs


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Returns when it is so; fails if it is not for a long time."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"it never was so: {what}"
        time.sleep(0.02)


@contextmanager
def kitchen(folder: Path, environ: dict[str, str], **emulator: Any) -> Iterator[Kitchen]:
    """A door on the shipped recipes, unless `environ` has others, and an emulator as told."""
    base = folder / "comfyui"
    bring_models(base)
    with ComfyUIEmulator(base, **emulator) as comfyui, ExitStack() as stack:
        given = {"COMFYUI_URL": comfyui.url, "RECIPES_DIR": str(RECIPES), **environ}
        yield Kitchen(open_door(stack, folder, given), comfyui)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    """One door for a module's tests: a sampling step takes 0.05 s, and what is `impossible` fails."""
    with kitchen(tmp_path_factory.mktemp("door"), {}, step_seconds=0.05, faults=["impossible_prompt"]) as opened:
        yield opened
