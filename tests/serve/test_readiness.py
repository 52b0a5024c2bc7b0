"""When a door takes jobs, when it no longer should, and what keeps it from starting."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from tests import workflows
from tests.conftest import write_lock
from tests.serve.conftest import Address, Door, job

MODEL = b"a model" * 100_000


@pytest.fixture
def slow_hub() -> Iterator[HubEmulator]:
    """A Hub from which the model takes longer than any test."""
    with HubEmulator({"owner/name": Repo({"b.safetensors": MODEL})}, rate=5_000) as emulator:
        yield emulator


@pytest.fixture
def downloading(door: Door, slow_hub: HubEmulator, tmp_path: Path) -> Address:
    """A door whose ComfyUI is ready and whose model has begun to come."""
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "b.safetensors"}
    pinned = {"size": len(MODEL), "sha256": hashlib.sha256(MODEL).hexdigest()}
    model = {"directory": "checkpoints", "name": "b.safetensors", "sources": [source], **pinned}
    lock = write_lock(tmp_path / "lock.json", model)
    address = door(COMFYPORT_LOCK=str(lock), HF_ENDPOINT=slow_hub.url, PREFETCH="off", STARTUP_WAIT_SECONDS="5")
    address.container.read_until("ComfyUI is ready")
    while board(address)["models"]["state"] == "starting":
        time.sleep(0.05)
    return address


def board(address: Address) -> dict[str, Any]:
    """The status board as `/health` shows it."""
    return dict(address.get("/health").json()["status"])


def children(address: Address) -> dict[str, int]:
    """The processes of the door's download and of its ComfyUI, by name."""
    threads = Path(f"/proc/{address.container.process.pid}/task").glob("*/children")
    found = {}
    for pid in " ".join(thread.read_text() for thread in threads).split():
        line = Path(f"/proc/{pid}/cmdline").read_text()
        found["sync" if "\0sync\0" in line else "comfyui"] = int(pid)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_job_is_taken_while_much_is_left_to_download(downloading: Address):
    queued = downloading.post("/run", job()).json()
    ping, health = downloading.get("/ping"), downloading.get("/health").json()

    assert queued["status"] == "IN_QUEUE"
    assert ping.status_code == 204
    assert (health["workers"]["ready"], health["workers"]["initializing"]) == (0, 1)
    assert (health["jobs"]["inQueue"], health["jobs"]["inProgress"]) == (1, 0)
    assert health["status"]["comfyui"]["state"] == "ready"


def test_a_download_that_is_killed_fails_the_jobs_that_need_it_and_no_others(downloading: Address):
    queued = downloading.post("/run", {"input": {"workflow": workflows.sampled("b.safetensors")}}).json()

    os.kill(children(downloading)["sync"], signal.SIGKILL)
    other = downloading.post("/runsync", job()).json()
    failed = downloading.get(f"/status/{queued['id']}").json()

    assert other["status"] == "COMPLETED"
    assert failed["output"]["error_code"] == "model_not_ready"
    assert "SIGKILL" in failed["error"]
    assert downloading.get("/ping").status_code == 200
    assert board(downloading)["models"]["files"][0]["state"] == "failed"


def test_the_download_is_ended_while_comfyui_still_ends(downloading: Address):
    running = children(downloading)
    os.kill(running["comfyui"], signal.SIGSTOP)

    downloading.container.process.send_signal(signal.SIGTERM)
    while is_alive(running["sync"]):
        time.sleep(0.01)

    assert is_alive(running["comfyui"])
    assert downloading.container.end() == 0


def test_a_door_whose_comfyui_dies_again_and_again_answers_its_job_and_ends(door: Door):
    address = door(COMFYUI_ARGS="--fault crash_during")

    answers = [address.post("/runsync", job(colour)).json() for colour in range(3)]

    assert [answer["output"]["error_code"] for answer in answers] == ["comfyui_died"] * 3
    assert address.container.end(within=20) == 1
    assert "comfyport: ComfyUI has died 3 times in a row" in address.container.output


def test_a_door_is_not_refreshed_after_each_job(door: Door):
    address = door(REFRESH_WORKER="true")

    answers = [address.post("/runsync", job(colour)).json() for colour in range(2)]

    assert [answer["status"] for answer in answers] == ["COMPLETED"] * 2


def test_an_error_of_the_start_that_nobody_foresaw_ends_it_with_a_message(door: Door, tmp_path: Path):
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 1_000_000)

    address = door(WARMUP_WORKFLOW=str(deep))

    assert address.container.end(within=20) == 1
    assert address.container.output.splitlines()[-1].startswith("comfyport: An unexpected error occurred")
