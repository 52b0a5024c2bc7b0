"""The Modal door: what the functions of modal_entry.py do, and Modal's own queue behind the HTTP face (modal 1.6)."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import modal
from fastapi import FastAPI

from comfyport.errors import JobUnknown, ModelError
from comfyport.serve import http_app, logs
from comfyport.serve.host import shared
from comfyport.serve.queue import Job
from comfyport.settings import Settings


def start() -> None:
    """Starts this container's worker and returns when jobs may be taken. Raises ComfyportError."""
    logs.configure(Settings.load().log_level)
    host = shared()
    asyncio.run(host.wait_ready())


def api(run: Any) -> FastAPI:
    """The HTTP application; `run` is the GPU class's method, bound."""
    settings = Settings.load()
    return http_app.build(ModalQueue(run), status=_status, api_key=settings.api_key)


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
    """Modal's queue: jobs are spawned calls of `run`, and a job's id is its call's."""

    def __init__(self, run: Any) -> None:
        self._run = run

    async def submit(self, job_input: Any) -> Job:
        """Spawns a call."""
        call = await self._run.spawn.aio({"input": job_input})
        return Job(call.object_id, None)

    async def find(self, job_id: str) -> Job:
        """A job as it is now; Modal does not tell whether an unfinished one has started. Raises JobUnknown."""
        return await self.wait(job_id, 0)

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown."""
        try:
            answer = await modal.FunctionCall.from_id(job_id).get.aio(timeout=seconds)
        except TimeoutError:
            return Job(job_id, None, "IN_PROGRESS")
        except modal.exception.InputCancellation:
            return Job(job_id, None, "CANCELLED")
        except (modal.exception.OutputExpiredError, modal.exception.NotFoundError, modal.exception.InvalidError):
            raise JobUnknown(job_id) from None
        except modal.exception.Error as error:
            answer = ModelError(f"The container that ran the job ended: {error}").as_answer()
        return Job(job_id, None, "FAILED" if "error" in answer else "COMPLETED", answer)

    async def cancel(self, job_id: str) -> Job:
        """Ends a job that waits or runs. Raises JobUnknown."""
        job = await self.find(job_id)
        if not job.ended:
            await modal.FunctionCall.from_id(job_id).cancel.aio()
            job.status = "CANCELLED"
        return job

    async def counts(self) -> dict[str, int]:
        """Calls that wait; Modal counts no others."""
        stats = await self._run.get_current_stats.aio()
        return {"inQueue": stats.backlog}
