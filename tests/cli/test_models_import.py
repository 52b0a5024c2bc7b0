"""`comfyport models import`: what it adds to the lock, what it leaves and says, and the way from there to a picture."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emulators.hub import HubEmulator, Repo, quickstart_repos
from tests import workflows
from tests.cli.models import BODY, COMMIT, SHA256, entries, models
from tests.comfyui.editor_workflows import node, noted, workflow
from tests.conftest import ROOT, Container, container_environ, free_port, write_lock

EXAMPLE = ROOT / "examples" / "import" / "workflow.json"
REPO = Repo({"a.safetensors": BODY}, revision=COMMIT)
ENTRY = {
    "directory": "checkpoints",
    "name": "a.safetensors",
    "size": len(BODY),
    "sha256": SHA256,
    "sources": [{"type": "huggingface", "repo": "o/r", "revision": COMMIT, "file": "a.safetensors"}],
}
LOADER = node(4, "CheckpointLoaderSimple", "a.safetensors", models=[noted("a.safetensors")])
UNKNOWN = node(5, "VAELoader", "b.safetensors")


def comfyport(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command in `folder`, with the environment of the container beside it."""
    whole = container_environ(folder.parent, **environ)
    command = ["comfyport", *arguments]
    return subprocess.run(command, env=whole, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def written(folder: Path, content: Any) -> str:
    file = folder / "workflow.json"
    file.write_text(json.dumps(content))
    return str(file)


def test_what_a_workflow_needs_is_pinned(tmp_path: Path):
    with HubEmulator({"o/r": REPO}) as hub:
        answer = models(tmp_path, "import", written(tmp_path, workflow(LOADER)), "--json", HF_ENDPOINT=hub.url)

    assert answer.status == 0, answer.err
    assert answer.json == {
        "ok": True,
        "lock": str(tmp_path / "models.lock.json"),
        "dry_run": False,
        "kind": "a workflow in the editor's format",
        "models": [{"how": "added", "nodes": ["4"], "remark": "", "model": ENTRY}],
        "unresolved": [],
        "remarks": [],
    }
    assert entries(tmp_path) == [ENTRY]


def test_what_is_left_is_listed_with_node_folder_and_what_to_do(tmp_path: Path):
    file = written(tmp_path, workflow(LOADER, UNKNOWN))
    with HubEmulator({"o/r": REPO}) as hub:
        shown = models(tmp_path, "import", file, HF_ENDPOINT=hub.url)
        answer = models(tmp_path, "import", file, "--json", HF_ENDPOINT=hub.url)

    assert (shown.status, answer.status) == (3, 3)
    assert "1 of 2 models resolved" in shown.out
    assert "vae/b.safetensors: `comfyport models add url ADDRESS --directory vae --name b.safetensors`" in shown.out
    [left] = answer.json["unresolved"]
    assert (left["name"], left["directory"], left["nodes"]) == ("b.safetensors", "vae", ["5"])
    assert answer.json["ok"] is False
    assert entries(tmp_path) == [ENTRY]


def test_a_dry_run_writes_nothing(tmp_path: Path):
    lock = tmp_path / "new.json"
    with HubEmulator({"o/r": REPO}) as hub:
        file = written(tmp_path, workflow(LOADER))
        answer = models(tmp_path, "import", file, "--dry-run", "--lock", str(lock), HF_ENDPOINT=hub.url)

    assert answer.status == 0, answer.err
    assert "nothing was written" in answer.out
    assert not lock.exists()


def test_a_second_import_adds_groups_and_no_entry(tmp_path: Path):
    file = written(tmp_path, workflow(LOADER))
    with HubEmulator({"o/r": REPO}) as hub:
        for group in ("one", "two", "one"):
            assert models(tmp_path, "import", file, "--group", group, HF_ENDPOINT=hub.url).status == 0

    assert entries(tmp_path) == [{**ENTRY, "groups": ["one", "two"]}]


def test_another_file_of_the_same_path_is_an_error_and_the_lock_stays(tmp_path: Path):
    other = {**ENTRY, "sha256": "ab" * 32, "sources": [{"type": "url", "url": "https://example.org/a.safetensors"}]}
    lock = write_lock(tmp_path / "models.lock.json", other)
    before = lock.read_bytes()
    with HubEmulator({"o/r": REPO}) as hub:
        answer = models(tmp_path, "import", written(tmp_path, workflow(LOADER)), HF_ENDPOINT=hub.url)

    assert answer.status == 2
    assert "The lock has an entry for checkpoints/a.safetensors already" in answer.err
    assert lock.read_bytes() == before


def test_only_the_files_of_a_pattern_are_taken(tmp_path: Path):
    addresses = "\n".join(f"https://huggingface.co/o/r/resolve/main/{name} vae" for name in ("a.safetensors", "b.bin"))
    (tmp_path / "list.txt").write_text(addresses)
    with HubEmulator({"o/r": REPO}) as hub:
        listed = models(tmp_path, "import", "list.txt", "--only", "A.safe*", "--json", HF_ENDPOINT=hub.url)
        none = models(tmp_path, "import", "list.txt", "--only", "*.gguf", HF_ENDPOINT=hub.url)

    assert (listed.status, none.status) == (0, 2)
    assert [found["model"]["name"] for found in listed.json["models"]] == ["a.safetensors"]
    assert "None of its 2 models is called *.gguf" in none.err


def test_a_name_alone_is_known_from_the_lock_that_comes_with_comfyport(tmp_path: Path):
    file = written(tmp_path, workflows.sampled("v1-5-pruned-emaonly-fp16.safetensors"))

    answer = models(tmp_path, "import", file, "--json")

    assert answer.status == 0, answer.err
    [found] = answer.json["models"]
    assert (found["remark"], found["nodes"], found["model"].get("groups")) == ("known by its name", ["1"], None)


def test_from_a_workflow_of_the_editor_to_its_picture_in_four_commands(tmp_path: Path, start: Callable[..., Container]):
    port, here = str(free_port()), tmp_path / "here"
    here.mkdir()
    shutil.copy(EXAMPLE, here)
    lock = here / "models.lock.json"
    with HubEmulator(quickstart_repos()) as hub:
        environ = {"HF_ENDPOINT": hub.url, "PORT": port, "COMFYUI_PORT": str(free_port()), "COMFYPORT_LOCK": str(lock)}

        imported = comfyport(here, "models", "import", "workflow.json", **environ)
        planned = comfyport(here, "models", "plan", **environ)
        local = start(ROOT / "scripts" / "run-local.sh", "--lock", lock, **environ)
        try:
            local.read_until("Serving on")
            ran = comfyport(here, "run", "workflow.json", "--endpoint", f"http://127.0.0.1:{port}", **environ)
        finally:
            local.end(signal.SIGTERM, within=60)

    assert (imported.returncode, planned.returncode, ran.returncode) == (0, 3, 0), ran.stderr
    assert "missing    upscale_models/quickstart-4x.safetensors" in planned.stdout
    with Image.open(here / ran.stdout.strip()) as picture:
        assert picture.size == (128, 96)


@pytest.mark.parametrize("comfyui", ["", "http://127.0.0.1:9"])
def test_run_says_what_a_workflow_of_the_editor_needs(tmp_path: Path, comfyui: str):
    options = ["--comfyui", comfyui] if comfyui else []
    here = tmp_path / "here"
    here.mkdir()

    done = comfyport(here, "run", str(EXAMPLE), *options)

    assert done.returncode == 2
    assert "none answers at http://127.0.0.1:" in done.stderr
    assert "Export (API)" in done.stderr
