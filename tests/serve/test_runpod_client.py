"""RunPod's own client library, unchanged but for its base URL, against the HTTP door."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import runpod
from runpod import AsyncioEndpoint

from tests import workflows
from tests.conftest import picture
from tests.serve.conftest import Address, job, slow_job


@pytest.fixture
def endpoint(shared_door: Address, monkeypatch: pytest.MonkeyPatch) -> Iterator[runpod.Endpoint]:
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{shared_door.url}/v2")
    endpoint = runpod.Endpoint("any", api_key="none")
    yield endpoint
    endpoint.rp_client.rp_session.close()


def until(tell: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Asks until the answer is as wanted; a test that waits for ever is ended by its timeout."""
    while not wanted(answer := tell()):
        time.sleep(0.02)
    return answer


def test_run_sync_gives_the_output(endpoint: runpod.Endpoint):
    output = endpoint.run_sync({"workflow": workflows.scaled(0x0000FF)})

    assert picture(output["images"][0]).getpixel((0, 0)) == (0, 0, 255)


def test_run_status_and_output_follow_a_job(endpoint: runpod.Endpoint):
    queued = endpoint.run(slow_job(5)["input"])

    first = queued.status()
    output = queued.output(timeout=30)

    assert first in ("IN_QUEUE", "IN_PROGRESS")
    assert queued.status() == "COMPLETED"
    assert picture(output["images"][0]).size == (64, 64)


def test_the_progress_of_a_running_job_is_its_output_as_progress_update_has_it(
    endpoint: runpod.Endpoint, shared_door: Address
):
    queued = endpoint.run(slow_job(500)["input"])

    progress = until(queued.output, lambda output: (output or {}).get("step", 0) > 2)
    shown = shared_door.get(f"/status/{queued.job_id}").json()
    queued.cancel()

    assert (progress["type"], progress["class_type"], progress["steps"]) == ("progress", "KSampler", 500)
    assert shown["status"] == "IN_PROGRESS"
    assert {"delayTime", "workerId", "output"} <= set(shown)


def test_stream_yields_what_the_job_tells_each_thing_once_to_its_end(endpoint: runpod.Endpoint):
    queued = endpoint.run(slow_job(12)["input"])

    told = list(queued.stream())

    assert [piece["step"] for piece in told if piece.get("class_type") == "KSampler"] == list(range(13))
    assert told[0] == {"type": "status", "status": "IN_QUEUE"}
    assert told[-1] == {"type": "result", "status": "COMPLETED"}
    assert queued.output()["images"]


def test_a_failed_job_is_failed_and_can_be_asked_why(endpoint: runpod.Endpoint):
    queued = endpoint.run({"workflow": {"1": workflows.node("NoSuchNode")}})

    output = queued.output(timeout=30)

    assert queued.status() == "FAILED"
    assert output["error_code"] == "workflow_rejected"


def test_cancel_ends_a_running_job_and_the_queue_goes_on(endpoint: runpod.Endpoint):
    running = endpoint.run(slow_job(500)["input"])
    until(running.status, lambda status: status == "IN_PROGRESS")

    answer = running.cancel()
    following = endpoint.run_sync(job()["input"], timeout=30)

    assert answer == {"id": running.job_id, "status": "CANCELLED"}
    assert running.status() == "CANCELLED"
    assert following["images"]


def test_purge_queue_takes_away_what_waits_and_leaves_what_runs(endpoint: runpod.Endpoint):
    running = endpoint.run(slow_job(500)["input"])
    until(running.status, lambda status: status == "IN_PROGRESS")
    waiting = [endpoint.run(job()["input"]) for _ in range(2)]

    purged = endpoint.purge_queue()

    assert purged == {"removed": 2, "status": "completed"}
    assert [queued.status() for queued in waiting] == ["CANCELLED", "CANCELLED"]
    assert running.status() == "IN_PROGRESS"
    running.cancel()


def test_health_counts_jobs_and_workers(endpoint: runpod.Endpoint):
    before = endpoint.health()
    endpoint.run_sync(job()["input"])
    after = endpoint.health()

    assert after["jobs"]["completed"] == before["jobs"]["completed"] + 1
    assert set(after["workers"]) == {"idle", "initializing", "ready", "running", "throttled", "unhealthy"}


def test_what_goes_with_the_input_is_sent_beside_it(endpoint: runpod.Endpoint):
    queued = endpoint.run(slow_job(500) | {"policy": {"executionTimeout": 300, "lowPriority": True}})

    output = queued.output(timeout=30)

    assert queued.status() == "TIMED_OUT"
    assert output["error_code"] == "policy_exceeded"


async def test_the_asyncio_client_works_too(shared_door: Address, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{shared_door.url}/v2")
    async with aiohttp.ClientSession() as session:
        endpoint = AsyncioEndpoint("any", session, api_key="none")
        queued = await endpoint.run(slow_job(3)["input"])
        told = [piece async for piece in queued.stream()]
        output = await queued.output(timeout=30)
        running = await endpoint.run(slow_job(500)["input"])
        cancelled = await running.cancel()
        purged = await endpoint.purge_queue()
        health = await endpoint.health()

    assert told[-1]["status"] == "COMPLETED"
    assert output["images"]
    assert cancelled["status"] == "CANCELLED"
    assert purged["status"] == "completed"
    assert health["jobs"]["inQueue"] == 0


def test_a_wrong_key_is_told_in_the_clients_own_words(door: Callable[..., Address], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{door(COMFYPORT_API_KEY='right').url}/v2")
    endpoint = runpod.Endpoint("any", api_key="wrong")

    with pytest.raises(RuntimeError, match="401 Unauthorized"):
        endpoint.run(job()["input"])

    endpoint.rp_client.rp_session.close()
