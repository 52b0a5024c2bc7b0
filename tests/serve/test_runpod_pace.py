"""The pace under the real SDK: when jobs are taken, stopped, told of, answered and ended."""

import signal
from collections.abc import Callable

import pytest

from emulators.runpod import RunPodEmulator
from emulators.runpod.jobs import Job
from tests.conftest import Container


def percents(job: Job) -> list[float]:
    return [report["output"]["percent"] for report in job.reports]


def posts(platform: RunPodEmulator, job_id: str) -> int:
    return sum("/job-done/" in request.path and request.path.endswith(job_id) for request in platform.requests)


def test_the_next_job_is_taken_when_the_last_one_has_been_answered(platform: RunPodEmulator, paced: Container):
    ids = [platform.submit({"number": number}) for number in range(10)]

    outputs = [platform.wait(job_id)["output"] for job_id in ids]

    assert outputs == [{"done": {"number": number}} for number in range(10)]
    steps = [str(request).split("/")[3] for request in platform.requests if "/job-" in request.path]
    turns = [step for step in steps if step in ("job-take", "job-done")]
    assert turns[:20] == ["job-take", "job-done"] * 10


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


def test_progress_can_be_read_from_the_stream(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"steps": 40})

    status = platform.wait(job_id)

    job = platform.jobs[job_id]
    assert [chunk["output"] for chunk in job.chunks] == [report["output"] for report in job.reports]
    assert status["output"] == {"done": {"steps": 40}}


@pytest.mark.parametrize("fault", ["slow_progress", "refuse_progress"])
def test_a_job_goes_on_when_its_progress_is_not_taken(platform: RunPodEmulator, paced: Container, fault: str):
    platform.faults.add(fault)
    job_ids = [platform.submit({"steps": 40}) for _ in range(2)]

    outputs = [platform.wait(job_id)["output"] for job_id in job_ids]

    assert outputs == [{"done": {"steps": 40}}] * 2
    # One post was tried, then none for a while; the other is the result.
    assert [posts(platform, job_id) for job_id in job_ids] == [2, 1]


def test_a_job_that_is_cancelled_is_stopped(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True})
    platform.wait_until(lambda: platform.jobs[job_id].chunks)

    platform.cancel(job_id)
    paced.read_until(f"freed {job_id}")

    assert platform.wait(platform.submit({"number": 1}))["status"] == "COMPLETED"
    assert platform.jobs[job_id].late == []


def test_a_job_that_is_cancelled_before_it_arrives_is_not_begun(platform: RunPodEmulator, paced: Container):
    platform.faults.add("slow_take")
    job_id = platform.submit({"hang": True})
    platform.wait(job_id, until=lambda status: status["status"] == "IN_PROGRESS")

    platform.cancel(job_id)
    paced.read_until("Stopped before it arrived")

    assert platform.wait(platform.submit({"number": 1}))["status"] == "COMPLETED"
    assert "freed" not in paced.output


def test_a_job_that_was_stopped_can_be_sent_again(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True}, policy={"executionTimeout": 5000})
    paced.read_until(f"freed {job_id}")
    assert platform.wait(job_id)["status"] == "TIMED_OUT"

    platform.retry(job_id)

    platform.wait_until(lambda: len(platform.jobs[job_id].reports) >= 2)


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


def test_a_second_sigterm_cuts_the_job_short_at_once(platform: RunPodEmulator, paced: Container):
    job_id = platform.submit({"hang": True})
    platform.wait_until(lambda: platform.jobs[job_id].reports)

    paced.process.send_signal(signal.SIGTERM)
    paced.read_until("stopping on SIGTERM")

    assert paced.end(signal.SIGTERM, within=4) == 128 + signal.SIGTERM
    assert f"freed {job_id}" in paced.output


def test_a_platform_that_cannot_be_reached_is_found_again(start_paced: Callable[..., Container]):
    with RunPodEmulator() as platform:
        paced = start_paced(platform)
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
