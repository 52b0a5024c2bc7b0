"""The Modal door: what the functions of modal_entry.py do, and Modal's own queue behind the HTTP face (modal 1.6)."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import modal
from fastapi import FastAPI

from comfyport.errors import ModelError, NotOffered
from comfyport.serve import http_app, logs, modal_calls
from comfyport.serve.host import shared
from comfyport.serve.job import Job, Submission
from comfyport.settings import Settings


def start() -> None:
    """Starts this container's worker and returns when jobs may be taken. Raises ComfyportError."""
    logs.configure(Settings.load().log_level)
    host = shared()
    asyncio.run(host.wait_ready())


def api(run: Any) -> FastAPI:
    """The HTTP application; `run` is the GPU class's method, bound."""
    settings = Settings.load()
    return http_app.build(ModalQueue(run), status=_status, settings=settings)


def models(*arguments: str, groups: str = "") -> None:
    """Runs `comfyport models` with `arguments`. Raises ModelError if it does not end with 0."""
    environ = os.environ | ({"MODEL_GROUPS": groups} if groups else {})
    status = subprocess.run([sys.executable, "-m", "comfyport", "models", *arguments], env=environ, check=False)
    if status.returncode:
        raise ModelError(f"`comfyport models {' '.join(arguments)}` ended with {status.returncode}; see above.")


async def _status() -> http_app.WorkerStatus:
    # Modal starts a GPU container when a job comes; the door itself is always open.
    return http_app.WorkerStatus(ready=True, board={})


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
        outcome = await modal_calls.outcome(job_id, seconds)
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

    async def counts(self) -> dict[str, int]:
        """Calls that wait; Modal counts no others."""
        stats = await self._run.get_current_stats.aio()
        return {"inQueue": stats.backlog}
