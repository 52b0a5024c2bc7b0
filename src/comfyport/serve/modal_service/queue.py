"""Modal's own queue behind the HTTP face: a job is a spawned call of the GPU class (modal 1.6).

A job's id is that of its first call. Whether it waits, how far it is and what it tells stands in the ledger; that it
has ended, and its answer, only Modal knows.
"""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import modal

from comfyport.errors import EndpointFailed, NotOffered, NotRetryable
from comfyport.serve.events import Told
from comfyport.serve.job import Job, Submission
from comfyport.serve.modal_service import calls, following
from comfyport.serve.modal_service.keys import Keys
from comfyport.serve.modal_service.ledger import KEPT_INPUT_BYTES, Ledger, Record
from comfyport.serve.modal_service.work import Terms

logger = logging.getLogger(__name__)

# Modal answers a request that takes longer than 150 s with a redirect, which not every client follows; its way to the
# door counts too.
LONGEST_WAIT_SECONDS = 120.0
# What `/health`, `/ping` and `/metrics` tell may be as old.
COUNT_SECONDS = 0.2
# Cancelling many at once is limited by Modal's rate of requests.
AT_ONCE = 16


class ModalQueue:
    """The calls of `run`, the GPU class's method, and the ledger of `app`.

    `notify` is the function that posts webhooks; a wait lasts `longest_wait` seconds at most.
    """

    def __init__(self, run: Any, *, app: str, notify: Any = None, longest_wait: float = LONGEST_WAIT_SECONDS) -> None:
        self._run = run
        self._notify = notify
        self._longest_wait = longest_wait
        self._ledger = Ledger(app)
        self._counted: Any = None
        self._counted_until = 0.0
        self._keys = Keys(self._ledger, self._spawn, self.find)

    async def submit(self, submission: Submission) -> Job:
        """Spawns a call, or finds the one of the same idempotency key.

        Raises IdempotencyKeyReused, EndpointFailed.
        """
        return await (self._keys.job(submission) if submission.key else self._spawn(submission))

    async def find(self, job_id: str) -> Job:
        """A job as it is now. Raises JobUnknown, EndpointFailed."""
        return await self.wait(job_id, 0)

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown, EndpointFailed."""
        record = await self._ledger.record(job_id)
        if record and record.cancelled:
            seconds = 0
        if record and record.ttl is not None:
            seconds = min(seconds, max(0.0, record.queued_at + record.ttl - time.time()))
        call = record.call if record else job_id
        outcome = await calls.outcome(call, min(seconds, self._longest_wait))
        account = await self._ledger.account(job_id)
        return following.job(job_id, record, outcome, account, lambda: self.find(job_id))

    async def unread(self, job: Job) -> list[Told]:
        """What `job` has told and was not handed out by this method before. Raises EndpointFailed."""
        fresh = job.events.after(await self._ledger.handed_out(job.id))
        if fresh:
            await self._ledger.hand_out(job.id, fresh[-1].number)
        return fresh

    async def cancel(self, job_id: str) -> Job:
        """Ends a job that waits or runs. Raises JobUnknown, EndpointFailed."""
        job = await self.find(job_id)
        if job.ended:
            return job
        record = await self._ledger.record(job_id) or Record(call=job_id, queued_at=job.queued_at)
        # First, so that it stays cancelled even if its container does not hear of it at once.
        await self._ledger.cancel(job_id, replace(record, cancelled=True))
        await _asked(modal.FunctionCall.from_id(record.call).cancel.aio())
        if record.webhook and self._notify is not None:
            await _asked(self._notify.spawn.aio(job_id, record.webhook))
        return await self.find(job_id)

    async def retry(self, job_id: str) -> Job:
        """Spawns a call for a job that failed or timed out once more.

        Raises JobUnknown, NotRetryable, EndpointFailed, and NotOffered where its input was not kept.
        """
        job = await self.find(job_id)
        if job.status not in ("FAILED", "TIMED_OUT"):
            raise NotRetryable(job.id, job.status)
        record, given = await asyncio.gather(self._ledger.record(job_id), self._ledger.given(job_id))
        if record is None or given is None:
            raise NotOffered(f"retries of jobs whose input has more than {KEPT_INPUT_BYTES >> 20} MB; send it again")
        attempt = record.retries + 1
        if await self._ledger.claim(f"retry {attempt} {job_id}", {"at": time.time()}):
            terms = Terms(**given["terms"] | {"retries": attempt, "queued_at": time.time()})
            call = await self._call({**given, "id": job_id, "terms": terms.as_json()})
            await self._ledger.open(
                job_id, replace(record, call=call, retries=attempt, queued_at=terms.queued_at), None
            )
        return await self.find(job_id)

    async def purge(self) -> int:
        """Cancels every job that waits; how many they were. Raises EndpointFailed."""
        places = asyncio.Semaphore(AT_ONCE)

        async def cancel(job_id: str) -> bool:
            async with places:
                job = await self.find(job_id)
                if job.status == "IN_QUEUE":
                    await self.cancel(job_id)
                else:
                    await self._ledger.leave_waiting(job_id)
                return job.status == "IN_QUEUE"

        waiting = [job_id async for job_id in self._ledger.waiting()]
        return sum(await asyncio.gather(*map(cancel, waiting)))

    async def latest(self, number: int) -> list[Job]:
        """Raises NotOffered: Modal does not list its calls."""
        raise NotOffered("a list of its jobs; Modal's dashboard has one")

    async def counts(self) -> dict[str, int]:
        """Calls that wait and calls that run; Modal counts no others. Raises EndpointFailed."""
        stats = await self._stats()
        return {"inQueue": stats.backlog, "inProgress": stats.num_running_inputs}

    async def containers(self) -> int:
        """GPU containers that there are now. Raises EndpointFailed."""
        return int((await self._stats()).num_total_runners)

    async def gauges(self) -> dict[str, float]:
        """What the metrics show of the queue as it is now. Raises EndpointFailed."""
        stats = await self._stats()
        return {
            "waiting_jobs": stats.backlog,
            "running_jobs": stats.num_running_inputs,
            "containers": stats.num_total_runners,
        }

    async def _stats(self) -> Any:
        """Modal's own count, which the several questions of a moment share."""
        if time.monotonic() >= self._counted_until:
            self._counted = await _asked(self._run.get_current_stats.aio())
            self._counted_until = time.monotonic() + COUNT_SECONDS
        return self._counted

    async def _spawn(self, submission: Submission) -> Job:
        kept = submission.size <= KEPT_INPUT_BYTES
        terms = Terms(
            queued_at=time.time(),
            execution_timeout=submission.execution_timeout,
            ttl=submission.ttl,
            webhook=submission.webhook,
            kept=kept,
        )
        bucket = {"s3Config": submission.bucket} if submission.bucket is not None else {}
        given = {"input": submission.input, **bucket, "terms": terms.as_json()}
        call = await self._call(given)
        record = Record(call, terms.queued_at, ttl=terms.ttl, webhook=terms.webhook)
        try:
            await self._ledger.open(call, record, given if kept else None)
        except EndpointFailed:
            # Whoever sent it is told that it failed, and may send it again.
            await modal.FunctionCall.from_id(call).cancel.aio()
            raise
        return Job(call, queued_at=terms.queued_at)

    async def _call(self, job: dict[str, Any]) -> str:
        call = await _asked(self._run.spawn.aio(job))
        return str(call.object_id)


async def _asked(question: Any) -> Any:
    """What Modal answers. Raises EndpointFailed."""
    try:
        return await question
    except modal.exception.Error as error:
        raise EndpointFailed("Modal", str(error) or type(error).__name__) from None
