"""The RunPod door: jobs come through RunPod's SDK (runpod 1.12)."""

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import runpod

from comfyport.errors import ComfyportError
from comfyport.serve.host import Host, handler, shared, stop_shared

logger = logging.getLogger(__name__)

# RunPod kills 10 s after it asked; ComfyUI needs some of them to end.
GRACE_SECONDS = 4.0
IDLE_SECONDS = 0.3


def serve() -> None:
    """Takes jobs until RunPod stops the worker. Raises ComfyportError if the worker cannot go on."""
    host = shared()
    try:
        _wait_ready(host)
        runpod.serverless.start({"handler": handler, "concurrency_modifier": _StopOnSignal(host)})
    finally:
        stop_shared()


def _wait_ready(host: Host) -> None:
    # Before the SDK takes its first job: a job that waits in RunPod's queue can go to a worker that is ready.
    import asyncio

    async def wait() -> ComfyportError | None:
        ready = asyncio.ensure_future(host.wait_ready())
        failed = asyncio.ensure_future(host.wait_failure())
        await asyncio.wait({ready, failed}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            failed.cancel()
            await ready
            return None
        ready.cancel()
        return await failed

    if error := asyncio.run(wait()):
        raise error


class _StopOnSignal:
    """Ends the process soon after SIGTERM, where the SDK alone would wait for its long poll.

    The SDK asks its concurrency modifier before each job that it takes, after it has set its own signal handlers: the
    first time, ours goes in front of them. One job at a time: ComfyUI has one GPU.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._installed = False
        self._asked = False

    def __call__(self, _current: int) -> int:
        if not self._installed:
            self._installed = True
            self._stop_taking: Any = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self._on_signal)
        return 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise SystemExit(128 + number if self._host.worker.active else 0)
        self._asked = True
        if callable(self._stop_taking):
            self._stop_taking(number, frame)
        threading.Thread(target=self._ask_again, args=(number,), name="stop", daemon=True).start()

    def _ask_again(self, number: int) -> None:
        """Lets the running job end, within reason; then the same signal, to whose second coming nothing is deaf."""
        end = time.monotonic() + GRACE_SECONDS
        idle_since = time.monotonic()
        while time.monotonic() < end and time.monotonic() - idle_since < IDLE_SECONDS:
            if self._host.worker.active:
                idle_since = time.monotonic()
            time.sleep(0.05)
        os.kill(os.getpid(), number)
