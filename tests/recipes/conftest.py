"""Doors that serve the shipped recipes; their ComfyUI is an emulator in this process, so that it can be looked into."""

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
from tests.conftest import ROOT, TINY_CHECKPOINT, png
from tests.serve.conftest import Address, open_door

RECIPES = ROOT / "recipes"
PHOTO = png((40, 30), (200, 40, 40))
PATIENCE = 30.0


def bring_models(folder: Path) -> None:
    """Puts a file without weights below `models/` of `folder` for each that the shipped recipes need."""
    for workflow in RECIPES.glob("*/workflow.json"):
        for file in model_files(json.loads(workflow.read_text())):
            if file.name.endswith(".safetensors"):
                place = folder / "models" / file.folder / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(TINY_CHECKPOINT)


def views(*ids: str, **more: Any) -> dict[str, Any]:
    """A request for these views of the photo, small ones."""
    perspectives = [{"id": id, "name": f"View {id}", "prompt": f"seen from the {id}"} for id in ids]
    return {"image": PHOTO, "perspectives": perspectives, "megapixels": 0.1, "steps": 1, **more}


class Kitchen(Address):
    """A door and the ComfyUI behind it."""

    def __init__(self, door: Address, comfyui: ComfyUIEmulator) -> None:
        self.container, self.url = door.container, door.url
        self.comfyui = comfyui

    def is_idle(self) -> bool:
        """Whether ComfyUI runs nothing, and nothing waits there or at the door."""
        queue = requests.get(f"{self.comfyui.url}/queue", timeout=30).json()
        jobs = self.get("/health").json()["jobs"]
        return not any(queue.values()) and not jobs["inQueue"] and not jobs["inProgress"]


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Returns when it is so; fails if it is not for a long time."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"it never was so: {what}"
        time.sleep(0.02)


@contextmanager
def kitchen(
    folder: Path, *, recipes: Path = RECIPES, environ: dict[str, str] | None = None, **emulator: Any
) -> Iterator[Kitchen]:
    base = folder / "comfyui"
    bring_models(base)
    with ComfyUIEmulator(base, **emulator) as comfyui, ExitStack() as stack:
        given = {"COMFYUI_URL": comfyui.url, "RECIPES_DIR": str(recipes), **(environ or {})}
        yield Kitchen(open_door(stack, folder, given), comfyui)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Kitchen]]:
    """Opens a door of the test's own."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(kitchen(tmp_path, **options))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    """One door for a module's tests, for those that leave it as it was."""
    with kitchen(tmp_path_factory.mktemp("door")) as open_kitchen:
        yield open_kitchen
