"""A worker of RunPod's SDK at our pace, whose jobs do what their input says; a program of its own."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import runpod

from comfyport.comfyui.progress import Progress
from comfyport.errors import ComfyportError, ComfyUIError
from comfyport.jobs.events import Observer
from comfyport.serve import logs
from comfyport.serve.runpod_worker import pace
from comfyport.settings import Settings
from emulators.runpod import RunPodEmulator
from tests.conftest import ROOT, Container

logger = logging.getLogger(__name__)


class Scripted:
    """Performs jobs by their input; it breaks down for good after one that says so."""

    def __init__(self) -> None:
        self._broken: asyncio.Future[ComfyportError] | None = None

    async def run(self, job: dict[str, Any], observe: Observer) -> dict[str, Any]:
        """The answer that the input asks for; `{"steps": n}` tells of its progress 20 times a second."""
        match job["input"]:
            case {"hang": _}:
                observe(Progress("1", "KSampler", "KSampler", 0, 10, 0, 1))
                try:
                    await asyncio.sleep(300)
                finally:
                    logger.info("freed %s", job["id"])
            case {"steps": steps}:
                for step in range(steps):
                    observe(Progress("1", "KSampler", "KSampler", step, steps, 0, 1))
                    await asyncio.sleep(0.05)
            case {"break": "oddly"}:
                self._future().set_exception(RuntimeError("nobody foresaw this"))
            case {"break": _}:
                self._future().set_result(ComfyUIError("ComfyUI will not start any more."))
            case {"answer": answer}:
                return dict(answer)
            case {"bytes": count}:
                return {"data": "x" * count}
        return {"done": job["input"]}

    async def wait_failure(self) -> ComfyportError:
        """Returns once it is broken."""
        return await self._future()

    def _future(self) -> "asyncio.Future[ComfyportError]":
        if self._broken is None:
            self._broken = asyncio.get_running_loop().create_future()
        return self._broken


@contextlib.contextmanager
def paced_worker(platform: RunPodEmulator, **environ: str) -> Iterator[Container]:
    """The program, as a worker of `platform`."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env=os.environ | platform.environment() | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Container(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


if __name__ == "__main__":
    logs.configure("info")
    settings = Settings.load()
    pace.install(Scripted(), stream=settings.stream_progress, grace=settings.stop_seconds)
    runpod.serverless.start({"handler": lambda job: {"error": "not at our pace"}})
