"""Doors to ask: the program `src/start.sh` in a container's place, asked over a real socket."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import workflows
from tests.conftest import ROOT, TINY_CHECKPOINT, Container, container, free_port

Door = Callable[..., "Address"]


class Address:
    """A door and where it listens."""

    def __init__(self, container: Container, port: str) -> None:
        self.container = container
        self.url = f"http://127.0.0.1:{port}"

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=30, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)


def open_door(stack: ExitStack, folder: Path, environ: dict[str, str]) -> Address:
    """A door with a checkpoint that has no weights, as `a.safetensors`; open until `stack` is closed."""
    checkpoint = folder / "volume" / "models" / "checkpoints" / "a.safetensors"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_bytes(TINY_CHECKPOINT)
    port = str(free_port())
    opened = stack.enter_context(container((ROOT / "src" / "start.sh",), folder, {"PORT": port, **environ}))
    opened.read_until("listening on")
    return Address(opened, port)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """Opens a door of the test's own."""
    with ExitStack() as stack:
        yield lambda **environ: open_door(stack, tmp_path, environ)


@pytest.fixture(scope="module")
def shared_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """One door for a module's tests, for those that leave it as it was; a sampling step takes 0.1 s."""
    with ExitStack() as stack:
        arguments = "--step-seconds 0.1 --preview-method auto"
        yield open_door(stack, tmp_path_factory.mktemp("door"), {"COMFYUI_ARGS": arguments})


def job(colour: int = 7) -> dict[str, Any]:
    """A job that takes no time."""
    return {"input": {"workflow": workflows.scaled(colour)}}


def slow_job(steps: int = 10, **more: Any) -> dict[str, Any]:
    """A job of as many steps."""
    return {"input": {"workflow": workflows.sampled("a.safetensors", seed=steps, steps=steps), **more}}
