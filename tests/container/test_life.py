"""The whole life of a container: it starts, downloads, works, stops, and downloads nothing the next time."""

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from emulators.hub import HubEmulator
from emulators.hub.quickstart import quickstart_repos
from tests.conftest import ROOT, picture, write_lock
from tests.container.conftest import BUILD_SECONDS, HARDENED, Service

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

# Only what hangs takes as long.
ANSWER_SECONDS = 120
END_SECONDS = 300
QUICKSTART = ROOT / "examples" / "quickstart"
Start = Callable[..., Service]


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator(quickstart_repos()) as emulator:
        yield emulator


@pytest.fixture
def quickstart(hub: HubEmulator) -> dict[str, Any]:
    """What a container is started with to have the quickstart's three models."""
    mount = f"--volume={QUICKSTART / 'models.lock.json'}:/quickstart.lock.json:ro"
    return {"options": (mount,), "COMFYPORT_LOCK": "/quickstart.lock.json", "HF_ENDPOINT": hub.url}


def upscale(container: Service) -> tuple[int, int]:
    """The size of the picture that the quickstart's job makes with a model: four times its input's 96 x 96."""
    workflow = json.loads((QUICKSTART / "workflow.json").read_text())
    image = base64.b64encode((QUICKSTART / "input.png").read_bytes()).decode()
    return picture(answer(container, {"workflow": workflow, "images": [{"name": "input.png", "image": image}]})).size


def draw(container: Service) -> tuple[int, int]:
    """The size of the picture that a job without any model makes."""
    workflow = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 48, "height": 32, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "empty"}},
    }
    return picture(answer(container, {"workflow": workflow})).size


def answer(container: Service, job: dict[str, Any]) -> dict[str, Any]:
    """The one picture of a job's answer."""
    response = requests.post(f"{container.url}/runsync", json={"input": job}, timeout=ANSWER_SECONDS).json()
    while response["status"] in ("IN_QUEUE", "IN_PROGRESS"):
        time.sleep(0.1)
        response = requests.get(f"{container.url}/status/{response['id']}", timeout=ANSWER_SECONDS).json()
    assert response["status"] == "COMPLETED", response
    (image,) = response["output"]["images"]
    return image


@pytest.mark.parametrize("options", [(), HARDENED], ids=["root", "hardened"])
def test_it_downloads_once_works_and_stops_twice_on_one_volume(
    start: Start, hub: HubEmulator, quickstart: dict[str, Any], options: tuple[str, ...]
):
    quickstart["options"] += options
    asked = []
    for _ in range(2):
        container = start(**quickstart)
        container.read_until("ComfyUI is ready", "models: 3 of 3 ready")
        assert upscale(container) == (384, 384)
        assert container.end(signal.SIGTERM, within=END_SECONDS) == 0, container.output
        asked.append(len(hub.requests))

    assert asked[0] == asked[1] > 0


@pytest.mark.parametrize("options", [(), HARDENED], ids=["root", "hardened"])
def test_without_the_download_it_asks_nobody_and_works(
    start: Start, hub: HubEmulator, quickstart: dict[str, Any], options: tuple[str, ...]
):
    quickstart["options"] += options
    container = start(DOWNLOAD_MODELS_ON_STARTUP="false", **quickstart)

    container.read_until("ComfyUI is ready")

    assert draw(container) == (48, 32)
    assert container.end(signal.SIGTERM, within=END_SECONDS) == 0
    assert hub.requests == []


def test_a_volume_that_podman_makes_can_be_used_without_root(
    start: Start, quickstart: dict[str, Any], volume_name: str
):
    quickstart["options"] += (*HARDENED, f"--volume={volume_name}:/data")
    container = start(**quickstart)

    container.read_until("ComfyUI is ready", "models: 3 of 3 ready")

    assert container.end(signal.SIGTERM, within=END_SECONDS) == 0


def test_arguments_replace_the_worker(start: Start):
    container = start("python", "-c", "import comfyport; print('hello'); raise SystemExit(7)")

    assert container.end(within=END_SECONDS) == 7
    assert container.output == "hello\n"


@pytest.mark.parametrize("program", ["python", "pip", "comfyport", "uv", "git"])
def test_what_platforms_and_people_call_is_on_the_path(start: Start, program: str):
    assert start(program, "--help").end(within=END_SECONDS) == 0


def refused(container: Service, status: int, *words: str) -> None:
    assert container.end(within=END_SECONDS) == status, container.output
    for word in words:
        assert word in container.output


def test_a_missing_gpu_ends_the_start_with_what_to_do(start: Start):
    refused(start(COMFYPORT_DEVICE="gpu"), 1, "--gpus all", "COMFYPORT_DEVICE=cpu")


def test_a_broken_lock_ends_the_start_with_what_is_wrong(start: Start, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", {"directory": "checkpoints", "name": "a", "sources": []})
    mount = (f"--volume={lock}:/lock.json:ro",)

    refused(start(options=mount, COMFYPORT_LOCK="/lock.json"), 2, "/lock.json", "models[0] (a)")


def test_a_volume_that_cannot_be_written_ends_the_start(start: Start, tmp_path: Path, quickstart: dict[str, Any]):
    quickstart["options"] += (f"--volume={tmp_path}:/data:ro",)

    refused(start(**quickstart), 1, "/data", "COMFYPORT_VOLUME")
