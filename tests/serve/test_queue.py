"""The queue of the HTTP door: in order, bounded in number, time and bytes, and never in doubt about a job's end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from comfyport.errors import (
    IdempotencyKeyReused,
    JobUnknown,
    NotRetryable,
    QueueFull,
    ResultDropped,
    WorkerStopped,
)
from comfyport.jobs.events import Observer
from comfyport.serve.job import Job, Submission, weigh
from comfyport.serve.queue import LocalQueue, guess_left
from comfyport.serve.shelf import Shelf

PATIENCE = 5.0


class Handler:
    """Answers a job with its input; one with `hold` only when it is let go. `cancelled` counts those taken back."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.cancelled = 0
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, job: dict[str, Any], observe: Observer) -> dict[str, Any]:
        self.seen.append(job["input"])
        self.began.set()
        if isinstance(job["input"], dict) and job["input"].get("hold"):
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if job["input"] == "fail":
            return {"error": "it failed", "error_code": "execution_failed", "details": {}}
        return {"images": [job["input"]], "timings": {}}


@asynccontextmanager
async def working(
    handler: Handler,
    *,
    size: int = 10,
    keep_seconds: float = 60,
    keep_bytes: int = 1_000_000,
    on_end: Callable[[Job], None] = lambda job: None,
) -> AsyncIterator[LocalQueue]:
    shelf = Shelf(keep_seconds=keep_seconds, keep_bytes=keep_bytes)
    queue = LocalQueue(handler, shelf, size=size, on_end=[on_end])
    task = asyncio.create_task(queue.work())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def held(queue: LocalQueue, handler: Handler, **fields: Any) -> Job:
    """A job that is at work and stays there."""
    job = await queue.submit(Submission({"hold": True}, **fields))
    await handler.began.wait()
    handler.began.clear()
    return job


async def test_jobs_are_done_in_the_order_they_came():
    handler = Handler()
    async with working(handler) as queue:
        jobs = [await queue.submit(Submission(number)) for number in range(5)]
        ended = [await queue.wait(job.id, PATIENCE) for job in jobs]

    assert handler.seen == [0, 1, 2, 3, 4]
    assert [job.status for job in ended] == ["COMPLETED"] * 5


async def test_a_full_queue_says_when_there_may_be_room():
    handler = Handler()
    async with working(handler, size=1) as queue:
        await held(queue, handler)
        await queue.submit(Submission("waits"))
        with pytest.raises(QueueFull) as full:
            await queue.submit(Submission("too many"))

    assert full.value.details["waiting"] == 1
    assert full.value.details["retry_after"] >= 1


def test_what_takes_longer_than_usual_may_take_as_long_again():
    assert guess_left(typical=42, lasted=2) == 40
    assert guess_left(typical=42, lasted=100) == 100
    assert guess_left(typical=0, lasted=0) == 1
    assert guess_left(typical=0, lasted=5000) == 600


async def test_bodies_that_wait_are_bounded_together():
    handler = Handler()
    async with working(handler, keep_bytes=10_000) as queue:
        done = await queue.submit(Submission("small"))
        await queue.wait(done.id, PATIENCE)
        handler.began.clear()
        await held(queue, handler, size=6000)
        with pytest.raises(QueueFull, match="QUEUE_BYTES"):
            await queue.submit(Submission("too large", size=6000))

    assert done.answer is not None, "nothing is dropped for what does not fit all the same"


async def test_the_same_key_and_body_is_the_same_job_while_it_runs_and_afterwards():
    handler = Handler()
    async with working(handler) as queue:
        running = await held(queue, handler, key="k", digest="body")
        meanwhile = await queue.submit(Submission({"hold": True}, key="k", digest="body"))
        handler.let_go.set()
        await queue.wait(running.id, PATIENCE)
        afterwards = await queue.submit(Submission({"hold": True}, key="k", digest="body"))

    assert running.id == meanwhile.id == afterwards.id
    assert len(handler.seen) == 1


async def test_the_same_key_with_another_body_is_refused_and_names_the_job():
    async with working(Handler()) as queue:
        job = await queue.submit(Submission(1, key="k", digest="one"))
        with pytest.raises(IdempotencyKeyReused) as reused:
            await queue.submit(Submission(2, key="k", digest="another"))

    assert reused.value.details == {"id": job.id}


async def test_a_key_is_free_again_when_its_result_is_no_longer_kept():
    async with working(Handler(), keep_seconds=0) as queue:
        first = await queue.submit(Submission(1, key="k", digest="one"))
        while not first.ended:
            await asyncio.sleep(0)
        second = await queue.submit(Submission(2, key="k", digest="another"))

    assert first.id != second.id


async def test_a_result_is_kept_for_its_time_and_the_answer_says_until_when():
    async with working(Handler(), keep_seconds=0) as queue:
        job = await queue.submit(Submission(1))
        while not job.ended:
            await asyncio.sleep(0)
        with pytest.raises(JobUnknown):
            await queue.find(job.id)

    assert job.as_json()["expiresAt"].endswith("+00:00")


async def test_the_oldest_results_make_room_for_newer_ones_and_that_is_told():
    async with working(Handler(), keep_bytes=12_000) as queue:
        jobs = [await queue.submit(Submission("x" * 4000)) for _ in range(4)]
        for job in jobs:
            await queue.wait(job.id, PATIENCE)
        found = [await queue.find(job.id) for job in jobs]
        kept = queue.gauges()["kept_bytes"]

    assert [job.dropped for job in found] == [True, True, False, False]
    assert [job.status for job in found] == ["COMPLETED"] * 4
    assert found[0].as_json()["output"]["error_code"] == "result_dropped"
    assert kept <= 12_000


async def test_a_result_larger_than_all_room_is_there_for_who_waits_for_it():
    async with working(Handler(), keep_bytes=1000) as queue:
        job = await queue.submit(Submission("x" * 5000))
        waited = await queue.wait(job.id, PATIENCE)

    assert waited.answer is not None


async def test_cancelling_a_running_job_answers_at_once_and_the_queue_goes_on():
    handler = Handler()
    async with working(handler) as queue:
        running = await held(queue, handler)
        following = await queue.submit(Submission("next"))
        cancelled = await queue.cancel(running.id)
        done = await queue.wait(following.id, PATIENCE)

    assert cancelled.status == "CANCELLED"
    assert done.status == "COMPLETED"
    assert handler.cancelled == 1


async def test_a_job_that_was_cancelled_while_it_waited_never_runs():
    handler = Handler()
    async with working(handler) as queue:
        running = await held(queue, handler)
        waiting = await queue.submit(Submission("never"))
        await queue.cancel(waiting.id)
        handler.let_go.set()
        last = await queue.submit(Submission("last"))
        await queue.wait(running.id, PATIENCE)
        await queue.wait(last.id, PATIENCE)

    assert handler.seen == [{"hold": True}, "last"]


async def test_a_job_that_is_over_cannot_be_cancelled():
    async with working(Handler()) as queue:
        job = await queue.submit(Submission(1))
        await queue.wait(job.id, PATIENCE)
        cancelled = await queue.cancel(job.id)

    assert cancelled.status == "COMPLETED"


async def test_a_job_ends_when_its_execution_timeout_is_over():
    handler = Handler()
    async with working(handler) as queue:
        job = await held(queue, handler, execution_timeout=0.05)
        ended = await queue.wait(job.id, PATIENCE)

    assert ended.as_json()["status"] == "TIMED_OUT"
    assert ended.as_json()["error"].startswith("executionTimeout exceeded")
    assert handler.cancelled == 1


@pytest.mark.parametrize("running", [True, False], ids=["running", "waiting"])
async def test_a_job_ends_when_its_time_to_live_is_over(running: bool):
    handler = Handler()
    async with working(handler) as queue:
        first = await held(queue, handler, ttl=0.05 if running else None)
        job = first if running else await queue.submit(Submission("waits", ttl=0.05))
        ended = await queue.wait(job.id, PATIENCE)

    assert ended.status == "TIMED_OUT"
    assert ended.answer is not None
    assert ended.answer["details"]["policy"] == "ttl"


async def test_a_failed_job_runs_again_under_its_id_and_forgets_what_it_answered():
    handler = Handler()
    async with working(handler) as queue:
        job = await queue.submit(Submission("fail"))
        await queue.wait(job.id, PATIENCE)
        await held(queue, handler)
        again = (await queue.retry(job.id)).as_json()
        handler.let_go.set()
        ended = await queue.wait(job.id, PATIENCE)
        counts = await queue.counts()

    assert again == {"id": job.id, "status": "IN_QUEUE", "retries": 1}
    assert ended.status == "FAILED"
    assert handler.seen.count("fail") == 2
    assert (counts["failed"], counts["retried"]) == (2, 1)


async def test_a_job_that_went_well_does_not_run_again():
    async with working(Handler()) as queue:
        job = await queue.submit(Submission(1))
        await queue.wait(job.id, PATIENCE)
        with pytest.raises(NotRetryable):
            await queue.retry(job.id)


async def test_a_job_whose_input_was_dropped_cannot_run_again():
    async with working(Handler(), keep_bytes=3000) as queue:
        failed = await queue.submit(Submission("fail"))
        later = await queue.submit(Submission("x" * 5000))
        await queue.wait(later.id, PATIENCE)
        with pytest.raises(ResultDropped):
            await queue.retry(failed.id)


async def test_closing_tells_every_job_what_happened_and_takes_no_more():
    handler = Handler()
    ended: list[str] = []
    async with working(handler, on_end=lambda job: ended.append(job.id)) as queue:
        running = await held(queue, handler)
        waiting = await queue.submit(Submission("waits"))
        await queue.close(grace=0.05)
        with pytest.raises(WorkerStopped):
            await queue.submit(Submission("late"))

    assert running.answer is not None
    assert waiting.answer is not None
    assert "while the job ran" in running.answer["error"]
    assert "before the job had begun" in waiting.answer["error"]
    assert ended == [waiting.id, running.id]


async def test_closing_lets_the_running_job_end_in_its_grace():
    handler = Handler()
    async with working(handler) as queue:
        running = await held(queue, handler)
        closing = asyncio.create_task(queue.close(grace=PATIENCE))
        await asyncio.sleep(0)
        handler.let_go.set()
        await closing

    assert running.status == "COMPLETED"


async def test_an_observer_that_breaks_ends_neither_its_job_nor_the_queue(caplog: pytest.LogCaptureFixture):
    def broken(job: Job) -> None:
        raise RuntimeError("no room for one more metric")

    async with working(Handler(), on_end=broken) as queue:
        jobs = [await queue.submit(Submission(number)) for number in range(2)]
        ended = [await queue.wait(job.id, PATIENCE) for job in jobs]

    assert [job.status for job in ended] == ["COMPLETED"] * 2
    assert "no room for one more metric" in caplog.text


async def test_a_handler_that_breaks_fails_its_job_and_not_the_queue():
    async def broken(job: dict[str, Any], observe: Observer) -> dict[str, Any]:
        if job["input"] == "break":
            raise ValueError("no such thing")
        return {"images": []}

    async with working(broken) as queue:  # type: ignore[arg-type]
        first = await queue.submit(Submission("break"))
        second = await queue.submit(Submission("fine"))
        await queue.wait(second.id, PATIENCE)

    assert (first.status, second.status) == ("FAILED", "COMPLETED")


def test_the_weight_of_an_answer_is_near_that_of_its_texts():
    assert 1_000_000 <= weigh({"images": [{"data": "x" * 1_000_000}]}) < 1_001_000
