"""The emulator against the real SDK on both sides: workers in their own processes, `runpod.Endpoint` here."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import runpod

from emulators.runpod import RunPodEmulator

HANDLER = """
import asyncio, itertools, runpod

turns = itertools.count()

async def handler(job):
    turn = next(turns)
    match job["input"]:
        case {"double": number}:
            return {"doubled": number * 2, "turn": turn}
        case {"fail": message}:
            return {"error": message, "details": {"node": 6}}
        case {"raise": message}:
            raise ValueError(message)
        case {"refresh": _}:
            return {"answer": "done", "refresh_worker": True}
        case {"kilobytes": number}:
            return {"data": "x" * 1024 * number}
        case {"hang": _}:
            runpod.serverless.progress_update(job, "hanging")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                runpod.serverless.progress_update(job, "cancelled")
                raise

runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda _: CONCURRENCY})
"""

GENERATOR = """
import runpod

async def handler(job):
    for number in range(job["input"]["count"]):
        yield {"number": number}

runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""

UNFIT = """
import runpod

@runpod.serverless.register_fitness_check
def models_are_there():
    raise RuntimeError("no checkpoint")

runpod.serverless.start({"handler": lambda job: {}})
"""


@contextlib.contextmanager
def worker(platform: RunPodEmulator, program: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of that endpoint; it and the process that pings for it are killed at the end."""
    environment = os.environ | platform.environment(ping_seconds=1)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def handler(*, concurrency: int = 1) -> str:
    return HANDLER.replace("CONCURRENCY", str(concurrency))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunPodEmulator]:
    """An endpoint with one worker that runs ten jobs at a time."""
    log = tmp_path_factory.mktemp("worker") / "log"
    with RunPodEmulator(poll_seconds=1) as platform, worker(platform, handler(concurrency=10), log):
        yield platform


@pytest.fixture
def endpoint(platform: RunPodEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[runpod.Endpoint]:
    with client(platform, monkeypatch) as endpoint:
        yield endpoint


@contextlib.contextmanager
def client(platform: RunPodEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[runpod.Endpoint]:
    monkeypatch.setattr(runpod, "endpoint_url_base", platform.base_url)
    endpoint = runpod.Endpoint(platform.endpoint_id, api_key=platform.api_key)
    yield endpoint
    endpoint.rp_client.rp_session.close()


def test_a_worker_answers_twenty_jobs_in_the_order_they_came(platform):
    ids = [platform.submit({"double": number}) for number in range(20)]

    outputs = [platform.wait(job_id)["output"] for job_id in ids]

    assert [output["doubled"] for output in outputs] == [number * 2 for number in range(20)]
    assert [output["turn"] for output in outputs] == sorted(output["turn"] for output in outputs)


def test_an_error_from_the_handler_fails_the_job_and_keeps_its_details(platform):
    job_id = platform.submit({"fail": "no such model"})

    status = platform.wait(job_id)

    assert status["status"] == "FAILED"
    assert status["error"] == "no such model"
    assert status["output"] == {"details": {"node": 6}}


def test_an_exception_in_the_handler_fails_the_job_with_its_message(platform):
    job_id = platform.submit({"raise": "broken graph"})

    status = platform.wait(job_id)

    assert status["status"] == "FAILED"
    assert '"error_message": "broken graph"' in status["error"]
    assert "output" not in status


def test_cancelling_a_running_job_reaches_the_handler(platform):
    job_id = platform.submit({"hang": True})
    platform.wait(job_id, until=lambda status: status.get("output") == "hanging")

    cancelled = platform.cancel(job_id)

    assert cancelled["status"] == "CANCELLED"
    assert platform.wait_until(lambda: platform.jobs[job_id].late, timeout=5)[0]["output"] == "cancelled"


def test_a_job_over_its_execution_time_is_stopped_in_the_handler(platform):
    job_id = platform.submit({"hang": True}, policy={"executionTimeout": 800})

    status = platform.wait(job_id)

    assert status["status"] == "TIMED_OUT"
    assert platform.wait_until(lambda: platform.jobs[job_id].late, timeout=5)[0]["output"] == "cancelled"


def test_pings_name_the_jobs_in_progress(platform):
    job_id = platform.submit({"hang": True})

    ping = platform.wait_until(
        lambda: next((ping for ping in platform.pings if job_id in ping.job_ids), None), timeout=10
    )

    platform.cancel(job_id)
    assert ping.worker_id == "worker-1"
    assert ping.healthy
    assert ping.sdk_version == "1.12.0"


def test_a_client_runs_a_job_and_gets_its_output(endpoint):
    job = endpoint.run({"double": 21})

    assert job.output(timeout=10)["doubled"] == 42
    assert job.status() == "COMPLETED"


def test_a_client_runs_a_job_and_waits_for_it_in_one_request(endpoint):
    output = endpoint.run_sync({"double": 4}, timeout=10)

    assert output["doubled"] == 8


def test_a_client_sees_progress_and_cancels(endpoint, platform):
    job = endpoint.run({"hang": True})
    platform.wait(job.job_id, until=lambda status: status.get("output") == "hanging")

    assert (job.status(), job.output()) == ("IN_PROGRESS", "hanging")
    assert job.cancel() == {"id": job.job_id, "status": "CANCELLED"}
    assert job.status() == "CANCELLED"


def test_a_client_sees_a_worker_that_is_ready(endpoint, platform):
    platform.wait(platform.submit({"double": 1}))

    health = endpoint.health()

    assert health["jobs"]["completed"] >= 1
    assert health["workers"]["idle"] + health["workers"]["running"] == 1


def test_a_client_with_a_wrong_key_is_turned_away(endpoint):
    endpoint.rp_client.headers["Authorization"] = "Bearer wrong"

    with pytest.raises(RuntimeError, match="401"):
        endpoint.health()


def test_a_client_purges_a_queue_that_nobody_works_on(monkeypatch):
    with RunPodEmulator() as platform, client(platform, monkeypatch) as endpoint:
        jobs = [endpoint.run({"double": number}) for number in range(3)]

        assert endpoint.purge_queue() == {"removed": 3, "status": "completed"}
        assert endpoint.health()["jobs"]["inQueue"] == 0
        assert [job.status() for job in jobs] == ["CANCELLED"] * 3


def test_what_a_generator_yields_is_streamed_to_the_client(tmp_path, monkeypatch):
    with (
        RunPodEmulator(poll_seconds=1) as platform,
        worker(platform, GENERATOR, tmp_path / "log"),
        client(platform, monkeypatch) as endpoint,
    ):
        job = endpoint.run({"count": 3})

        streamed = list(job.stream())

        assert streamed == [{"number": 0}, {"number": 1}, {"number": 2}]
        assert job.output() == streamed


def test_sigterm_ends_a_worker_once_its_long_polls_return(tmp_path):
    with (
        RunPodEmulator(poll_seconds=0.2) as platform,
        worker(platform, handler(), tmp_path / "log") as process,
    ):
        platform.wait(platform.submit({"double": 1}))

        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 0


def test_a_worker_that_asks_for_its_end_gets_no_more_jobs_until_it_is_started_anew(tmp_path):
    with RunPodEmulator(poll_seconds=0.2) as platform:
        with worker(platform, handler(), tmp_path / "first"):
            first = platform.wait(platform.submit({"refresh": True}))
            second_id = platform.submit({"double": 2})
            platform.wait_until(lambda: _takes_after_stop(platform) >= 2)
            left_waiting = platform.status(second_id)["status"]
        with worker(platform, handler(), tmp_path / "second"):
            second = platform.wait(second_id)

        assert first["output"] == {"answer": "done"}
        assert platform.stopped_workers == ["worker-1"]
        assert left_waiting == "IN_QUEUE"
        assert second["output"] == {"doubled": 4, "turn": 0}


def _takes_after_stop(platform: RunPodEmulator) -> int:
    paths = [request.path for request in platform.requests]
    last_done = max(position for position, path in enumerate(paths) if "/job-done/" in path)
    return sum("/job-take/" in path for path in paths[last_done:])


def test_a_failed_fitness_check_is_reported_before_the_worker_dies(tmp_path):
    with RunPodEmulator() as platform, worker(platform, UNFIT, tmp_path / "log") as process:
        code = process.wait(timeout=20)

        assert code == 1
        assert [(ping.healthy, ping.check) for ping in platform.pings] == [(False, "models_are_there")]
        assert "no checkpoint" in platform.pings[0].reason


def test_a_worker_survives_refused_takes_and_posts_a_result_again_after_a_500(platform):
    for fault in ("take_500", "flashboot_400", "lose_result_once"):
        platform.faults.add(fault)
    job_id = platform.submit({"double": 3})

    status = platform.wait(job_id)

    assert status["output"]["doubled"] == 6
    assert len(_results_posted(platform, job_id)) == 2


def test_a_result_whose_post_is_cut_off_is_lost(platform):
    platform.faults.add("cut_result_once")
    lost_id = platform.submit({"double": 3})
    platform.wait_until(lambda: _results_posted(platform, lost_id))

    later = [platform.wait(platform.submit({"double": number})) for number in (1, 2)]

    assert [status["status"] for status in later] == ["COMPLETED"] * 2
    assert platform.status(lost_id)["status"] == "IN_PROGRESS"
    assert len(_results_posted(platform, lost_id)) == 1


def test_a_result_over_twenty_megabytes_is_lost(platform):
    lost_id = platform.submit({"kilobytes": 21 * 1024})
    platform.wait_until(lambda: _results_posted(platform, lost_id))

    later = [platform.wait(platform.submit({"double": number})) for number in (1, 2)]

    assert [status["status"] for status in later] == ["COMPLETED"] * 2
    assert platform.status(lost_id)["status"] == "IN_PROGRESS"
    assert len(_results_posted(platform, lost_id)) == 1


def _results_posted(platform: RunPodEmulator, job_id: str) -> list[str]:
    paths = [request.path for request in platform.requests]
    return [path for path in paths if "/job-done/" in path and path.endswith(job_id)]
