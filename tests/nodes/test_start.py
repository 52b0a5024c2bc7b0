"""A worker's start with custom nodes: they stand before ComfyUI imports them, and the next start asks nobody."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import EMULATOR, ROOT, Container, free_port
from tests.nodes.conftest import commit, node, pip_environ, wheel

START = ROOT / "src" / "start.sh"
# What a node of these tests says when ComfyUI imports it.
TELLING = "import extra\nprint('imported with extra', extra.version, flush=True)\nNODE_CLASS_MAPPINGS = {}\n"
# The emulator, which imports custom nodes first; ComfyUI goes on when one fails.
IMPORTING = f"""
import importlib.util, pathlib, runpy, sys, traceback
base = next(word.partition("=")[2] for word in sys.argv if word.startswith("--base-directory="))
for folder in sorted(pathlib.Path(base, "custom_nodes").iterdir()):
    spec = importlib.util.spec_from_file_location(folder.name, folder / "__init__.py")
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception:
        traceback.print_exc()
sys.argv[0] = {str(EMULATOR / "main.py")!r}
sys.path.insert(0, {str(ROOT)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def installations() -> list[Any]:
    named = os.environ.get("COMFYUI_DIR")
    return [pytest.param(None, id="emulator"), *([pytest.param(Path(named), id="real")] if named else [])]


@pytest.fixture(params=installations())
def comfyui(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param:
        return Path(request.param)
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(IMPORTING)
    return folder


@pytest.fixture
def worker(start: Callable[..., Container], comfyui: Path, wheels: Path, tmp_path: Path) -> Callable[..., Container]:
    def start_worker(*nodes: Any, **environ: str) -> Container:
        lock = {"version": 1, "nodes": [each.model_dump(exclude_none=True) for each in nodes]}
        # Beside the lock of the models, where it is looked for.
        (tmp_path / "nodes.lock.json").write_text(json.dumps(lock))
        options = {"COMFYUI_DIR": str(comfyui), "COMFYPORT_NODES_PROTOCOLS": "file", **pip_environ(wheels), **environ}
        return start(START, **options)

    return start_worker


@pytest.mark.timeout(240)
def test_nodes_come_before_comfyui_and_the_second_start_asks_nobody(
    tmp_path: Path, worker: Callable[..., Container], wheels: Path
):
    wheel(wheels, "extra", "1.0")
    entry = node(tmp_path / "a", commit(tmp_path / "a", {"__init__.py": TELLING, "requirements.txt": "extra\n"}))
    first = worker(entry)
    first.read_until("a is in place", "imported with extra 1.0", "ComfyUI is ready")
    first.end(15, within=30)
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(wheels)

    second = worker(entry)
    second.read_until("imported with extra 1.0", "ComfyUI is ready")
    second.end(15, within=30)

    assert "comfyui: nodes: " in first.output
    assert "comfyui: nodes: " not in second.output


@pytest.mark.timeout(240)
def test_one_bad_node_stops_neither_the_others_nor_comfyui_and_is_named_in_health(
    tmp_path: Path, worker: Callable[..., Container], wheels: Path
):
    wheel(wheels, "extra", "1.0")
    good = node(tmp_path / "a", commit(tmp_path / "a", {"__init__.py": TELLING, "requirements.txt": "extra\n"}))
    unmet = node(tmp_path / "b", commit(tmp_path / "b", {"__init__.py": "", "requirements.txt": "unheard-of\n"}))
    port = free_port()

    container = worker(good, unmet, node(tmp_path / "none", "0" * 40), PORT=str(port))
    container.read_until("imported with extra 1.0", "ComfyUI is ready", "listening on")
    told = requests.get(f"http://127.0.0.1:{port}/health", timeout=10).json()["status"]["nodes"]
    container.end(15, within=30)

    assert told["state"] == "failed"
    assert {each["name"]: each["state"] for each in told["nodes"]} == {
        "a": "installed",
        "b": "failed",
        "none": "failed",
    }


@pytest.mark.timeout(240)
def test_without_sync_comfyui_gets_what_is_there(tmp_path: Path, worker: Callable[..., Container], wheels: Path):
    container = worker(node(tmp_path / "none", "0" * 40), SYNC_NODES_ON_STARTUP="no")
    container.read_until("ComfyUI is ready")
    container.end(15, within=30)

    assert "comfyui: nodes: " not in container.output


@pytest.mark.timeout(240)
def test_a_lock_that_is_named_and_not_there_ends_the_start(tmp_path: Path, worker: Callable[..., Container]):
    container = worker(COMFYPORT_NODES_LOCK=str(tmp_path / "none.json"))

    assert container.end(within=30) == 2
    assert "none.json is not a valid lock" in container.output
