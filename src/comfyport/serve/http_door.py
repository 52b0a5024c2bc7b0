"""The HTTP door of a container: the application on HOST and PORT, with a queue in this process."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from comfyport.comfyui.ports import listen
from comfyport.errors import ComfyportError
from comfyport.serve import http_app
from comfyport.serve.host import Host, shared, stop_shared
from comfyport.serve.job import Job
from comfyport.serve.logs import Recent
from comfyport.serve.metrics import Metrics
from comfyport.serve.overview import Sources
from comfyport.serve.queue import LocalQueue
from comfyport.serve.shelf import Shelf
from comfyport.serve.webhooks import Webhooks
from comfyport.settings import Settings

logger = logging.getLogger(__name__)

# A container is killed 10 s after it was asked to stop. STOP_SECONDS (4) are the running job's; after them these run
# side by side: clients read their last answers, webhooks under way end, and ComfyUI lets go of a job, before it and the
# download have 3 s to end (comfyui/process.py, startup.py). That makes 8 s.
ANSWERS_SECONDS = 2
WEBHOOKS_SECONDS = 1.0
LET_GO_SECONDS = 1.0
# Longer than the idle time after which load balancers drop a connection, so that they do not send into a closed one.
KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: they would end the process before ComfyUI is stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, log: Recent) -> None:
    """Serves until SIGTERM or SIGINT, the lines that `log` keeps too.

    Raises ComfyportError if the worker cannot start or cannot go on.
    """
    with listen(settings.host, settings.port, setting="PORT") as listening:
        # asyncio sets it on sockets of its own only; without, an answer's last part waits 40 ms for the client's word.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end_start)
        host = shared()
        try:
            error = asyncio.run(_serve(host, settings, listening, log))
        finally:
            stop_shared()
    if error:
        raise error


def _end_start(_number: int, _frame: FrameType | None) -> None:
    """Ends a start that is not wanted any more, without a word; once it serves, the event loop hears the signals."""
    raise SystemExit(0)


async def _serve(host: Host, settings: Settings, listening: socket.socket, log: Recent) -> ComfyportError | None:
    metrics = Metrics(host.worker.board.read_all)
    shelf = Shelf(keep_seconds=settings.result_seconds, keep_bytes=settings.queue_bytes)
    async with Webhooks(
        settings.webhook_secret.reveal(), private=settings.allow_private_urls, count=metrics.webhook_ended
    ) as webhooks:
        worn_out, started = _WornOut(host), asyncio.Event()
        observers = (metrics.job_ended, webhooks.job_ended, worn_out.job_ended)
        queue = LocalQueue(host.run, shelf, size=settings.queue_size, on_end=observers)
        metrics.watch_queue(queue.gauges)
        app = http_app.build(
            queue,
            status=lambda: _status(host),
            settings=settings,
            offered=host.worker.recipes,
            metrics=metrics,
            sources=Sources(log, host.choices),
        )
        async with _listening(app, listening) as serving:
            async with _working(queue, started) as working:
                error = await _end(_failure(host, started, worn_out), serving.task, working)
                await queue.close(0 if error else settings.stop_seconds)
            await asyncio.gather(webhooks.drain(WEBHOOKS_SECONDS), serving.end(), _let_go(host))
    return error


class _WornOut:
    """Looks after each job whether the worker should be replaced: by whatever restarts the container."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._reason: asyncio.Future[ComfyportError] = asyncio.get_running_loop().create_future()

    def job_ended(self, _job: Job) -> None:
        """Looks at the worker, unless it was a job in the queue that ended, and another is at work."""
        worker = self._host.worker
        if not worker.active and (reason := worker.worn_out) and not self._reason.done():
            self._reason.set_result(reason)

    async def wait(self) -> ComfyportError:
        """Returns why the worker should be replaced, as soon as it should."""
        return await self._reason


@dataclass(frozen=True)
class _Serving:
    """A server at work in `task`."""

    server: _Server
    task: asyncio.Task[None]

    async def end(self) -> None:
        """Takes no more requests; returns when the last ones have been answered."""
        self.server.should_exit = True
        await self.task


@contextlib.asynccontextmanager
async def _listening(app: FastAPI, listening: socket.socket) -> AsyncIterator[_Serving]:
    config = uvicorn.Config(
        _without_tracebacks_at_the_end(app),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ANSWERS_SECONDS,
    )
    server = _Server(config)
    serving = _Serving(server, asyncio.create_task(server.serve(sockets=[listening]), name="serving"))
    logger.info("listening on http://%s:%d", *listening.getsockname()[:2])
    try:
        yield serving
    finally:
        await serving.end()


def _without_tracebacks_at_the_end(app: ASGIApp) -> ASGIApp:
    """`app`, where a client that does not read its answer and is cut off for it is no error of the application."""

    async def cut_off_quietly(scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn cancels a request only for that, after `timeout_graceful_shutdown`.
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return cut_off_quietly


@contextlib.asynccontextmanager
async def _working(queue: LocalQueue, started: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
    async def work() -> None:
        await started.wait()
        await queue.work()

    working = asyncio.create_task(work(), name="working")
    try:
        yield working
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _end(failure: Coroutine[Any, Any, ComfyportError], *tasks: asyncio.Task[None]) -> ComfyportError | None:
    """Returns when the process is told to stop, or at a `failure`: that. `tasks` should not end before."""
    failing = asyncio.create_task(failure)
    stopping = asyncio.create_task(_stop_signal())
    try:
        await asyncio.wait({failing, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        return failing.result() if failing.done() else None
    finally:
        for task in (failing, stopping):
            task.cancel()
        await asyncio.gather(failing, stopping, return_exceptions=True)


async def _failure(host: Host, started: asyncio.Event, worn_out: _WornOut) -> ComfyportError:
    """Returns why the worker cannot start or go on, or should be replaced; sets `started` when jobs may be taken."""

    async def start() -> ComfyportError:
        await host.wait_ready()
        started.set()
        return await asyncio.Future()

    waiting = [asyncio.create_task(reason) for reason in (start(), host.wait_failure(), worn_out.wait())]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    except ComfyportError as error:
        return error
    except Exception as error:
        logger.exception("the worker cannot go on")
        return ComfyportError(f"An unexpected error occurred: {error}")
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _let_go(host: Host) -> None:
    """Ends the worker when, within reason, a job that was ended has been taken out of ComfyUI."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LET_GO_SECONDS):
            while host.worker.active:
                await asyncio.sleep(0.02)
    await asyncio.to_thread(stop_shared)


async def _status(host: Host) -> http_app.WorkerStatus:
    return http_app.WorkerStatus(host.worker.ready, host.worker.board.read_all())


async def _stop_signal() -> None:
    """Returns at the first SIGTERM or SIGINT; the second ends the process at once, as if nobody listened."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        logger.info("stopping on %s", number.name)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    await asked.wait()
