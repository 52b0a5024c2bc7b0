"""A deployment's whole life under the real client and container runtime of modal, against the emulated platform."""

import time
from typing import Any

import pytest
import requests

from emulators.hub import HubEmulator
from emulators.modal import ModalEmulator
from tests import workflows
from tests.modal.conftest import APP, SECRETS, Checkout


def job(platform: ModalEmulator, checkpoint: str) -> dict[str, Any]:
    """What becomes of a job that loads `checkpoint`, as a client hears it."""
    body = {"input": {"workflow": workflows.sampled(checkpoint, steps=1)}}
    url, headers = platform.web_url(APP, "api"), {"Authorization": f"Bearer {SECRETS['COMFYPORT_API_KEY']}"}
    state: dict[str, Any] = requests.post(f"{url}/run", json=body, headers=headers, timeout=110).json()
    while state["status"] in ("IN_QUEUE", "IN_PROGRESS"):
        time.sleep(0.1)
        state = requests.get(f"{url}/status/{state['id']}", headers=headers, timeout=110).json()
    return state


def gpu_containers(platform: ModalEmulator) -> list[dict[str, Any]]:
    return [container for container in platform.containers if container["function"] == "ComfyUI.*"]


@pytest.mark.timeout(400)
def test_from_the_first_deployment_to_a_job_with_a_model_that_was_added(checkout: Checkout, hub: HubEmulator):
    platform = checkout.platform
    filled = checkout.modal("run", "modal_entry.py::download_models")
    assert filled.status == 0, filled.output
    # Containers that end soon when they are idle.
    deployed = checkout.modal("deploy", "modal_entry.py", COMFYPORT_MODAL_SCALEDOWN="2")
    assert deployed.status == 0, deployed.output

    health = requests.get(platform.web_url(APP, "api") + "/health", timeout=110)
    assert (health.status_code, gpu_containers(platform)) == (200, [])

    asked = len(hub.requests)
    assert job(platform, "a.safetensors")["status"] == "COMPLETED"
    first = gpu_containers(platform)
    while gpu_containers(platform)[-1]["exit_code"] is None:
        time.sleep(0.1)
    assert job(platform, "a.safetensors")["status"] == "COMPLETED"
    assert len(gpu_containers(platform)) == len(first) + 1
    assert len(hub.requests) == asked, "a container on a full Volume needs no network"

    unknown = job(platform, "plain.safetensors")
    assert (unknown["status"], unknown["output"]["error_code"]) == ("FAILED", "workflow_rejected")

    before = {container["task_id"] for container in gpu_containers(platform)}
    address = f"{hub.url}/files/plain.safetensors"
    added = checkout.modal(
        *("run", "scripts/add_model_url.py", "--url", address, "--directory", "checkpoints", "--restart")
    )
    assert (added.status, "Rollover completed" in added.output) == (0, True), added.output
    assert job(platform, "plain.safetensors")["status"] == "COMPLETED"
    assert gpu_containers(platform)[-1]["task_id"] not in before
