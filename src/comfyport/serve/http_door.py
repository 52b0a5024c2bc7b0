"""The HTTP door of a container: the application on HOST and PORT, with a queue in this process."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from comfyport.comfyui.ports import listen
from comfyport.errors import ComfyportError
from comfyport.serve import http_app
from comfyport.serve.host import Host, shared, stop_shared
from comfyport.serve.metrics import Metrics
from comfyport.serve.queue import LocalQueue
from comfyport.serve.shelf import Shelf
from comfyport.serve.webhooks import Webhooks
from comfyport.settings import Settings

logger = logging.getLogger(__name__)

# A container is killed 10 s after it was asked to stop. Besides STOP_SECONDS for the running job, these must suffice:
# for clients to read their last answers, for webhooks under way, for ComfyUI to let go of a job.
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


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises ComfyportError if the worker cannot start or cannot go on."""
    with listen(settings.host, settings.port, setting="PORT") as listening:
        # asyncio sets it on sockets of its own only; without, an answer's last part waits 40 ms for the client's word.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = shared()
        try:
            error = asyncio.run(_serve(host, settings, listening))
        finally:
            stop_shared()
    if error:
        raise error


async def _serve(host: Host, settings: Settings, listening: socket.socket) -> ComfyportError | None:
    metrics = Metrics(host.worker.board.read_all)
    shelf = Shelf(keep_seconds=settings.result_seconds, keep_bytes=settings.queue_bytes)
    async with Webhooks(
        settings.webhook_secret.reveal(), private=settings.allow_private_urls, count=metrics.webhook_ended
    ) as webhooks:
        queue = LocalQueue(host.run, shelf, size=settings.queue_size, on_end=(metrics.job_ended, webhooks.job_ended))
        metrics.watch_queue(queue.gauges)
        app = http_app.build(queue, status=lambda: _status(host), settings=settings, metrics=metrics)
        async with _listening(app, listening) as serving, _working(queue, host, settings) as working:
            error = await _end(host, serving, working)
            await queue.close(0 if error else settings.stop_seconds)
            await asyncio.gather(webhooks.drain(WEBHOOKS_SECONDS), _let_go(host))
    return error


@contextlib.asynccontextmanager
async def _listening(app: FastAPI, listening: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    config = uvicorn.Config(
        _without_tracebacks_at_the_end(app),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ANSWERS_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="serving")
    logger.info("listening on http://%s:%d", *listening.getsockname()[:2])
    try:
        yield serving
    finally:
        server.should_exit = True
        await serving


def _without_tracebacks_at_the_end(app: ASGIApp) -> ASGIApp:
    """`app`, where a client that does not read its answer and is cut off for it is no error of the application."""

    async def cut_off_quietly(scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn cancels a request only for that, after `timeout_graceful_shutdown`.
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return cut_off_quietly


@contextlib.asynccontextmanager
async def _working(queue: LocalQueue, host: Host, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    async def work() -> None:
        if settings.startup_wait == "all" or settings.warmup_workflow:
            with suppress(ComfyportError):
                await host.wait_ready()
        await queue.work()

    working = asyncio.create_task(work(), name="working")
    try:
        yield working
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _end(host: Host, *tasks: asyncio.Task[None]) -> ComfyportError | None:
    """Returns when the process is told to stop, or the worker cannot go on: then why. `tasks` should not end before."""
    failing = asyncio.create_task(_failure(host))
    stopping = asyncio.create_task(_stop_signal())
    try:
        await asyncio.wait({failing, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        return failing.result() if failing.done() else None
    finally:
        for task in (failing, stopping):
            task.cancel()
        await asyncio.gather(failing, stopping, return_exceptions=True)


async def _failure(host: Host) -> ComfyportError:
    """Returns why the worker cannot start or cannot go on, as soon as that is clear."""
    starting = asyncio.create_task(host.wait_ready())
    failing = asyncio.create_task(host.wait_failure())
    try:
        await asyncio.wait({starting, failing}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and isinstance(error := starting.exception(), ComfyportError):
            return error
        return await failing
    finally:
        for task in (starting, failing):
            task.cancel()
        await asyncio.gather(starting, failing, return_exceptions=True)


async def _let_go(host: Host) -> None:
    """Waits, within reason, until a job that was ended has been taken out of ComfyUI."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LET_GO_SECONDS):
            while host.worker.active:
                await asyncio.sleep(0.02)


async def _status(host: Host) -> http_app.WorkerStatus:
    return http_app.WorkerStatus(host.worker.comfyui.health.state == "ready", host.worker.board.read_all())


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
