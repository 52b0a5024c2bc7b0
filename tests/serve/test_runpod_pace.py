"""The pace under the real SDK: when jobs are taken, stopped, told of and answered."""

from collections.abc import Iterator

import pytest

from emulators.runpod import RunPodEmulator
from emulators.runpod.jobs import Job
from tests.conftest import Container
from tests.serve.paced_worker import paced_worker


@pytest.fixture(scope="module")
def platform() -> Iterator[RunPodEmulator]:
    with RunPodEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module", autouse=True)
def paced(platform: RunPodEmulator) -> Iterator[Container]:
    """One worker for all: each test leaves it idle."""
    with paced_worker(platform) as container:
        yield container


def percents(job: Job) -> list[float]:
    return [report["output"]["percent"] for report in job.reports]


def posts(platform: RunPodEmulator, job_id: str) -> int:
    return sum("/job-done/" in request.path and request.path.endswith(job_id) for request in platform.requests)


def test_the_next_job_is_taken_when_the_last_one_has_been_answered(platform: RunPodEmulator, paced: Container):
    platform.wait(platform.submit({"number": 0}))
    before = len(platform.requests)
    ids = [platform.submit({"number": number}) for number in range(10)]

    outputs = [platform.wait(job_id)["output"] for job_id in ids]

    assert outputs == [{"done": {"number": number}} for number in range(10)]
    steps = [request.path.split("/")[3] for request in platform.requests[before:]]
    turns = [step for step in steps if step in ("job-take", "job-done")]
    assert turns[:20] in (["job-take", "job-done"] * 10, ["job-done", "job-take"] * 10)


def test_progress_is_told_in_order_and_nothing_after_the_result(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"steps": 40})

    status = platform.wait(job_id)

    job = platform.jobs[job_id]
    assert status["output"] == {"done": {"steps": 40}}
    assert len(percents(job)) >= 2
    assert percents(job) == sorted(percents(job))
    assert job.late == []


def test_the_last_word_before_a_silence_is_told(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True})

    platform.wait_until(lambda: platform.jobs[job_id].reports)

    assert platform.status(job_id)["output"]["class_type"] == "KSampler"
    platform.cancel(job_id)


def test_progress_can_be_read_from_the_stream(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"steps": 40})

    status = platform.wait(job_id)

    job = platform.jobs[job_id]
    assert [chunk["output"] for chunk in job.chunks] == [report["output"] for report in job.reports]
    assert status["output"] == {"done": {"steps": 40}}


def test_a_job_that_is_cancelled_is_stopped(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True})
    platform.wait_until(lambda: platform.jobs[job_id].chunks)

    platform.cancel(job_id)
    paced.read_until(f"freed {job_id}")

    assert platform.wait(platform.submit({"number": 1}))["status"] == "COMPLETED"
    assert platform.jobs[job_id].late == []


def test_a_job_that_was_stopped_can_be_sent_again(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True}, policy={"executionTimeout": 5000})
    paced.read_until(f"freed {job_id}")
    assert platform.wait(job_id)["status"] == "TIMED_OUT"

    platform.retry(job_id)

    platform.wait_until(lambda: len(platform.jobs[job_id].reports) >= 2)
    platform.cancel(job_id)


@pytest.mark.parametrize("fault", ["lose_result_once", "cut_result_once"])
def test_a_result_is_posted_until_it_is_taken(platform: RunPodEmulator, paced: Container, fault: str):
    for _ in range(3):
        platform.faults.add(fault)
    job_id = platform.submit({"number": 1})

    status = platform.wait(job_id)

    assert status["output"] == {"done": {"number": 1}}
    assert posts(platform, job_id) == 4


def test_an_answer_that_is_refused_becomes_an_error_that_says_so(platform: RunPodEmulator, paced: Container):
    platform.faults.add("refuse_result_once")
    job_id = platform.submit({"number": 1})

    status = platform.wait(job_id)

    assert status["status"] == "FAILED"
    assert "refused it with HTTP 400" in status["error"]
    assert status["output"]["error_code"] == "answer_refused"


def test_an_answer_over_the_limit_is_not_even_sent(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"bytes": 20_000_000})

    status = platform.wait(job_id)

    assert status["status"] == "FAILED"
    assert status["output"]["error_code"] == "answer_refused"
    assert status["output"]["details"]["limit"] == 20_000_000
    assert posts(platform, job_id) == 1


def test_an_error_fails_the_job_and_keeps_what_came_with_it(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"answer": {"error": "no \ud800 such model", "error_code": "x", "details": {}}})

    status = platform.wait(job_id)

    assert (status["status"], status["output"]) == ("FAILED", {"error_code": "x", "details": {}})
