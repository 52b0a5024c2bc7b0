"""A deployment's whole life under the real client and container runtime of modal, against the emulated platform."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from emulators.hub.weights import StateDict
from emulators.modal import ModalEmulator
from tests import workflows
from tests.conftest import ROOT, write_lock
from tests.modal_loop.programs import KEY, SECRET, container_variables

MODELS = {
    f"{name}.safetensors": bytes(StateDict({"w": (900,)}, seed=1, precision="F16").safetensors({"is": name}))
    for name in "ab"
}


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator({"owner/name": Repo(MODELS)}) as emulator:
        yield emulator


def entry(name: str) -> dict[str, Any]:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": name}
    size, digest = len(MODELS[name]), hashlib.sha256(MODELS[name]).hexdigest()
    return {"directory": "checkpoints", "name": name, "size": size, "sha256": digest, "sources": [source]}


def modal(platform: ModalEmulator, *arguments: str) -> None:
    """The modal command in the checkout, with containers that end soon when they are idle; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "modal", *arguments],
        env={"PATH": "/usr/bin:/bin", "COMFYPORT_MODAL_SCALEDOWN": "2", **platform.environment()},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def job(platform: ModalEmulator, checkpoint: str) -> dict[str, Any]:
    """What becomes of a job that loads `checkpoint`, as a client hears it."""
    body = {"input": {"workflow": workflows.sampled(checkpoint, steps=1)}}
    url = platform.web_url("comfyport", "api")
    headers = {"Authorization": f"Bearer {KEY}"}
    state: dict[str, Any] = requests.post(f"{url}/runsync", json=body, headers=headers, timeout=110).json()
    return state


def gpu_containers(platform: ModalEmulator) -> list[dict[str, Any]]:
    return [container for container in platform.containers if container["function"] == "ComfyUI.*"]


@pytest.mark.timeout(300)
def test_from_the_first_deployment_to_a_job_with_a_model_that_was_added(hub: HubEmulator, tmp_path: Path):
    variables = container_variables(tmp_path) | {"HF_ENDPOINT": hub.url}
    lock = write_lock(tmp_path / "models.lock.json", entry("a.safetensors"))

    with ModalEmulator(secrets=SECRET, env=variables) as platform:
        modal(platform, "run", "modal_entry.py::download_models")
        modal(platform, "deploy", "modal_entry.py")
        health = requests.get(platform.web_url("comfyport", "api") + "/health", timeout=60)
        assert (health.status_code, gpu_containers(platform)) == (200, [])

        asked = len(hub.requests)
        first = job(platform, "a.safetensors")
        assert (first["status"], len(gpu_containers(platform))) == ("COMPLETED", 1)

        wait_for_end(platform, 0)
        second = job(platform, "a.safetensors")
        assert (second["status"], len(gpu_containers(platform))) == ("COMPLETED", 2)
        assert len(hub.requests) == asked, "a container on a full Volume needs no network"

        unknown = job(platform, "b.safetensors")
        assert (unknown["status"], unknown["output"]["error_code"]) == ("FAILED", "workflow_rejected")

        before = len(gpu_containers(platform))
        write_lock(lock, entry("a.safetensors"), entry("b.safetensors"))
        modal(platform, "run", "modal_entry.py::download_models")
        modal(platform, "deploy", "modal_entry.py")
        third = job(platform, "b.safetensors")
        assert (third["status"], len(gpu_containers(platform)) > before) == ("COMPLETED", True)

    assert [container["exit_code"] for container in platform.containers] == [0] * len(platform.containers)


def wait_for_end(platform: ModalEmulator, number: int) -> None:
    """Until a container, counted from 0, has ended for want of work."""
    while gpu_containers(platform)[number]["exit_code"] is None:
        time.sleep(0.1)
