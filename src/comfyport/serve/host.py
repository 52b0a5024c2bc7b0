"""Runs this process's worker in a thread with an event loop of its own.

Every door has a loop that belongs to somebody else (uvicorn, RunPod's SDK, Modal's runtime); the worker's never waits
for theirs. `handler(job)` crosses over; cancelling it on one side cancels the job on the other.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from comfyport.early import Early
from comfyport.errors import ComfyportError
from comfyport.jobs.events import Observer, unobserved
from comfyport.settings import Settings
from comfyport.worker import Worker

_T = TypeVar("_T")


class Host:
    """A worker in a thread, from `start` to `stop`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self.settings = settings
        self.worker = Worker(settings, environ)
        self._environ = environ
        self._early: Early | None = None
        self._started = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker", daemon=True)

    def boot(self) -> None:
        """Starts ComfyUI alone, where there is no GPU yet; `start` does the rest. Raises ComfyportError."""
        self._early = Early(self.settings, self._environ)
        self._begin(self._early.__aenter__())

    def start(self) -> None:
        """Starts the worker. Raises ComfyportError if it cannot even be started."""
        if self._early:
            # Restored from a memory snapshot, a process may find other secrets in its environment.
            self.settings = Settings.load(self._environ)
            self.worker = Worker(self.settings, self._environ, early=self._early)
        self._begin(self.worker.__aenter__())
        self._started = True

    def stop(self) -> None:
        """Ends the download, ComfyUI and the thread."""
        running = self._early if self._early and not self._started else self.worker
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), self._loop).result()
        self._end_thread()

    async def run(self, job: Any, observe: Observer = unobserved) -> dict[str, Any]:
        """The worker's answer to a job; `observe` is called in the worker's thread."""
        return await self._cross(self.worker.run(job, observe))

    async def choices(self, nodes: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """What may be chosen for the inputs of these node types."""
        return await self._cross(self.worker.choices(nodes))

    async def wait_ready(self) -> None:
        """Returns when jobs may be taken. Raises ComfyportError when that will not be."""
        await self._cross(self.worker.wait_ready())

    async def wait_failure(self) -> ComfyportError:
        """Returns why the worker cannot go on, as soon as that is clear."""
        return await self._cross(self.worker.wait_failure())

    async def wait_worn_out(self) -> ComfyportError:
        """Returns why another worker would do better than this one, as soon as that is clear."""
        return await self._cross(self.worker.wait_worn_out())

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except BaseException:
            self._end_thread()
            raise

    async def _cross(self, work: Coroutine[Any, Any, _T]) -> _T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_booted: Host | None = None
_shared: Host | None = None
_sharing = threading.Lock()


def boot_shared() -> None:
    """Starts the ComfyUI of this process's worker where there is no GPU yet. Raises ComfyportError."""
    global _booted
    with _sharing:
        host = Host(Settings.load())
        host.boot()
        _booted = host


def shared() -> Host:
    """The one worker of this process, started from the environment when it is first asked for."""
    global _shared
    with _sharing:
        if _shared is None:
            host = _booted or Host(Settings.load())
            host.start()
            _shared = host
        return _shared


def stop_shared() -> None:
    """Ends the worker of this process, if it was started."""
    global _booted, _shared
    with _sharing:
        if host := _shared or _booted:
            host.stop()
        _booted = _shared = None


async def handler(job: dict[str, Any]) -> dict[str, Any]:
    """A job in, its answer out: `{"input": {"workflow": …}}` -> `{"images": […]}` or `{"error": …}`.

    Cancelling it takes the job out of ComfyUI.
    """
    host: Host = await asyncio.to_thread(shared) if _shared is None else _shared
    return await host.run(job)
