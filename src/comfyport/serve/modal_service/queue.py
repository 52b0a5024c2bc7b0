"""Modal's own queue behind the HTTP face: a job is a spawned call of the GPU class (modal 1.6)."""

from typing import Any

import modal

from comfyport.errors import NotOffered
from comfyport.serve.job import Job, Submission
from comfyport.serve.modal_service import calls


class ModalQueue:
    """Modal's queue: jobs are spawned calls of `run`, and a job's id is its call's.

    It hears no events, keeps no keys and posts to nobody: what asks for that is refused, never ignored.
    """

    def __init__(self, run: Any) -> None:
        self._run = run

    async def submit(self, submission: Submission) -> Job:
        """Spawns a call. Raises NotOffered."""
        unmet = {
            "idempotency keys": submission.key,
            "webhooks": submission.webhook,
            "policies": submission.execution_timeout or submission.ttl,
        }
        for feature, asked in unmet.items():
            if asked:
                raise NotOffered(feature)
        bucket = {"s3Config": submission.bucket} if submission.bucket is not None else {}
        call = await self._run.spawn.aio({"input": submission.input, **bucket})
        return Job(call.object_id)

    async def find(self, job_id: str) -> Job:
        """A job as it is now; Modal does not tell whether an unfinished one has started. Raises JobUnknown."""
        return await self.wait(job_id, 0)

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown, or EndpointFailed."""
        outcome = await calls.outcome(job_id, seconds)
        return Job(job_id, status=outcome.status, answer=outcome.answer)

    async def cancel(self, job_id: str) -> Job:
        """Ends a job that waits or runs. Raises JobUnknown."""
        job = await self.find(job_id)
        if not job.ended:
            await modal.FunctionCall.from_id(job_id).cancel.aio()
            job.status = "CANCELLED"
        return job

    async def retry(self, job_id: str) -> Job:
        """Raises NotOffered: Modal does not keep what a call was given."""
        raise NotOffered("retries; send the job again")

    async def purge(self) -> int:
        """Raises NotOffered: Modal does not list the calls that wait."""
        raise NotOffered("emptying the queue; cancel its jobs one by one")

    async def latest(self, number: int) -> list[Job]:
        """Raises NotOffered: Modal does not list its calls."""
        raise NotOffered("a list of its jobs; Modal's dashboard has one")

    async def counts(self) -> dict[str, int]:
        """Calls that wait; Modal counts no others."""
        stats = await self._run.get_current_stats.aio()
        return {"inQueue": stats.backlog}
