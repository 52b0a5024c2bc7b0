"""The pace under the real SDK: how a worker ends, and how it gets on with a platform in trouble."""

import contextlib
import signal
from collections.abc import Iterator

import pytest

from emulators.runpod import RunPodEmulator
from tests.conftest import Container
from tests.serve.paced_worker import paced_worker


@pytest.fixture
def paced(platform: RunPodEmulator) -> Iterator[Container]:
    with paced_worker(platform) as container:
        yield container


def posts(platform: RunPodEmulator, job_id: str) -> int:
    return sum("/job-done/" in request.path and request.path.endswith(job_id) for request in platform.requests)


@pytest.mark.parametrize("fault", ["slow_progress", "refuse_progress"])
def test_a_job_goes_on_when_its_progress_is_not_taken(platform: RunPodEmulator, paced: Container, fault: str):
    platform.faults.add(fault)
    job_ids = [platform.submit({"steps": 40}) for _ in range(2)]

    outputs = [platform.wait(job_id)["output"] for job_id in job_ids]

    assert outputs == [{"done": {"steps": 40}}] * 2
    # One post was tried, then none for a while; the other is the result.
    assert [posts(platform, job_id) for job_id in job_ids] == [2, 1]


def test_a_job_that_is_cancelled_before_it_arrives_is_not_begun(platform: RunPodEmulator, paced: Container):
    platform.faults.add("slow_take")
    job_id = platform.submit({"hang": True})
    platform.wait(job_id, until=lambda status: status["status"] == "IN_PROGRESS")

    platform.cancel(job_id)
    paced.read_until("Stopped before it arrived")

    assert platform.wait(platform.submit({"number": 1}))["status"] == "COMPLETED"
    assert "freed" not in paced.output


def test_a_result_waits_for_progress_that_is_on_its_way():
    faults = ("slow_progress", "late_progress_sticks")
    with RunPodEmulator(faults=faults, slow_progress_seconds=0.4) as platform, paced_worker(platform):
        job_id = platform.submit({"steps": 40})

        platform.wait(job_id)
        platform.wait(platform.submit({"steps": 20}))

        assert platform.status(job_id)["output"] == {"done": {"steps": 40}}
        assert platform.jobs[job_id].reports
        assert platform.jobs[job_id].late == []


def test_progress_is_kept_from_the_stream_if_that_is_asked(platform: RunPodEmulator):
    with paced_worker(platform, STREAM_PROGRESS="false"):
        job_id = platform.submit({"steps": 40})

        platform.wait(job_id)

    assert platform.jobs[job_id].reports
    assert platform.jobs[job_id].chunks == []


def test_a_worker_that_is_to_be_replaced_says_so_and_ends(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"answer": {"error": "dead", "error_code": "comfyui_died", "refresh_worker": True}})

    status = platform.wait(job_id)

    assert paced.end(within=20) == 0
    assert status["output"] == {"error_code": "comfyui_died"}
    assert platform.stopped_workers == ["worker-1"]


def test_a_worker_that_cannot_go_on_answers_its_job_and_ends(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"break": True})

    status = platform.wait(job_id)

    assert paced.end(within=20) == 1
    assert status["status"] == "COMPLETED"
    assert "ComfyUI will not start any more." in paced.output


def test_a_worker_that_breaks_in_an_unforeseen_way_ends_too(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"break": "oddly"})

    status = platform.wait(job_id)

    assert paced.end(within=20) == 1
    assert status["status"] == "COMPLETED"
    assert "nobody foresaw this" in paced.output


def test_an_idle_worker_ends_at_once_although_its_poll_is_held(platform: RunPodEmulator, paced: Container):
    platform.wait(platform.submit({"number": 1}))

    assert paced.end(signal.SIGTERM, within=4) == 0


def test_a_job_may_end_after_sigterm(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"steps": 30})
    platform.wait_until(lambda: platform.jobs[job_id].reports)

    assert paced.end(signal.SIGTERM, within=10) == 0
    assert platform.status(job_id)["output"] == {"done": {"steps": 30}}


def test_a_job_that_does_not_end_after_sigterm_is_cut_short(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True})
    platform.wait_until(lambda: platform.jobs[job_id].reports)

    assert paced.end(signal.SIGTERM, within=10) == 128 + signal.SIGTERM
    assert f"freed {job_id}" in paced.output


def test_a_result_whose_post_is_under_way_is_not_cut_short(platform: RunPodEmulator):
    platform.faults.add("cut_result_once")
    with paced_worker(platform, STOP_SECONDS="0") as paced:
        job_id = platform.submit({"number": 1})
        paced.read_until("posting the result")

        assert paced.end(signal.SIGTERM, within=10) == 0

    assert platform.status(job_id)["output"] == {"done": {"number": 1}}


def test_a_second_sigterm_cuts_the_job_short_at_once(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True})
    platform.wait_until(lambda: platform.jobs[job_id].reports)

    paced.process.send_signal(signal.SIGTERM)
    paced.read_until("stopping on SIGTERM")

    assert paced.end(signal.SIGTERM, within=4) == 128 + signal.SIGTERM
    assert f"freed {job_id}" in paced.output


def test_a_platform_that_cannot_be_reached_is_found_again():
    with contextlib.ExitStack() as stack:
        with RunPodEmulator() as platform:
            paced = stack.enter_context(paced_worker(platform))
            platform.wait(platform.submit({"number": 1}))
        paced.read_until("asking for a job failed", "asking for jobs to stop failed")

        with RunPodEmulator(port=platform.port) as again:
            status = again.wait(again.submit({"number": 2}))
            paced.end(signal.SIGTERM)

    assert status["output"] == {"done": {"number": 2}}
    assert paced.output.count("asking for a job failed") == 1


def test_jobs_input_and_answers_are_not_in_the_log(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"answer": {"text": "a private cat"}})
    platform.wait(job_id)

    paced.end(signal.SIGTERM)

    assert job_id in paced.output
    assert "private" not in paced.output
