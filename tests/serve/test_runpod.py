"""The RunPod door: `src/start.sh` under the real SDK, against the emulated platform."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.runpod import RunPodEmulator
from tests import workflows
from tests.conftest import ROOT, TINY_CHECKPOINT, Container, picture

START = ROOT / "src" / "start.sh"


@pytest.fixture
def worker(platform: RunPodEmulator, start: Callable[..., Container]) -> Iterator[Callable[..., Container]]:
    started: list[Container] = []

    def start_worker(**environ: str) -> Container:
        started.append(start(START, **platform.environment(), **environ))
        return started[-1]

    yield start_worker
    # Before the platform goes: a worker of the SDK asks a platform that is gone without a pause.
    for container in started:
        if container.process.poll() is None:
            os.killpg(container.process.pid, signal.SIGKILL)


def job(colour: int = 7) -> dict[str, Any]:
    return {"workflow": workflows.scaled(colour)}


def sampling(tmp_path: Path, steps: int, **more: Any) -> dict[str, Any]:
    checkpoint = tmp_path / "volume" / "models" / "checkpoints" / "a.safetensors"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_bytes(TINY_CHECKPOINT)
    return {"workflow": workflows.sampled("a.safetensors", steps=steps), **more}


@pytest.mark.timeout(180)
def test_fifty_jobs_give_fifty_right_answers(platform: RunPodEmulator, worker: Callable[..., Container]):
    worker()
    ids = [platform.submit(job(colour)) for colour in range(50)]

    answers = [platform.wait(job_id, timeout=120) for job_id in ids]

    assert {answer["status"] for answer in answers} == {"COMPLETED"}
    colours = [picture(answer["output"]["images"][0]).getpixel((0, 0)) for answer in answers]
    assert colours == [(0, 0, colour) for colour in range(50)]


def test_a_failed_job_is_failed_on_the_platform_too(platform: RunPodEmulator, worker: Callable[..., Container]):
    worker()

    answer = platform.wait(platform.submit({"workflow": {"1": workflows.node("NoSuchNode")}}), timeout=60)

    assert answer["status"] == "FAILED"
    assert "NoSuchNode" in answer["error"]
    assert answer["output"]["error_code"] == "workflow_rejected"


def test_a_cancelled_job_leaves_comfyui_free_for_the_next(
    platform: RunPodEmulator, worker: Callable[..., Container], tmp_path: Path
):
    container = worker(COMFYUI_ARGS="--step-seconds 0.2")
    long = platform.submit(sampling(tmp_path, steps=500))
    container.read_until("got prompt")

    platform.cancel(long)
    answer = platform.wait(platform.submit(job()), timeout=30)

    assert platform.status(long)["status"] == "CANCELLED"
    assert answer["status"] == "COMPLETED"


def test_sigterm_ends_an_idle_worker_although_the_platform_holds_its_poll_open(
    platform: RunPodEmulator, worker: Callable[..., Container]
):
    container = worker()
    platform.wait(platform.submit(job()), timeout=60)

    status = container.end(signal.SIGTERM, within=4)

    assert status == 0


def test_sigterm_during_a_job_ends_within_ten_seconds(platform: RunPodEmulator, worker: Callable[..., Container]):
    container = worker(COMFYUI_ARGS="--fault hang")
    platform.submit(job())
    container.read_until("got prompt")

    status = container.end(signal.SIGTERM, within=10)

    assert status != 0


@pytest.mark.parametrize(("asked", "types"), [({}, {"progress"}), ({"previews": True}, {"progress", "preview"})])
def test_a_job_tells_its_progress_and_shows_previews_if_asked(
    platform: RunPodEmulator,
    worker: Callable[..., Container],
    tmp_path: Path,
    asked: dict[str, Any],
    types: set[str],
):
    worker(COMFYUI_ARGS="--step-seconds 0.1 --preview-method auto")
    job_id = platform.submit(sampling(tmp_path, steps=40, **asked))

    answer = platform.wait(job_id, timeout=60)

    told = platform.jobs[job_id]
    assert {report["output"]["type"] for report in told.reports} == types
    assert [chunk["output"] for chunk in told.chunks] == [report["output"] for report in told.reports]
    assert told.late == []
    assert [image["filename"] for image in answer["output"]["images"]] == ["sampled_00001_.png"]


def test_a_worker_that_is_refreshed_after_each_job_ends_with_its_first(
    platform: RunPodEmulator, worker: Callable[..., Container]
):
    container = worker(REFRESH_WORKER="true")

    answer = platform.wait(platform.submit(job()), timeout=60)

    assert container.end(within=20) == 0
    assert answer["status"] == "COMPLETED"
    assert platform.stopped_workers == ["worker-1"]
