"""The HTTP door of a container: the application on HOST and PORT, with a queue in this process."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import uvicorn

from comfyport.comfyui.ports import listen
from comfyport.errors import ComfyportError
from comfyport.serve import http_app
from comfyport.serve.host import Host, handler, shared, stop_shared
from comfyport.serve.queue import LocalQueue
from comfyport.settings import Settings

logger = logging.getLogger(__name__)

# A container is killed 10 s after it was asked to stop; ComfyUI needs some of them to end.
GRACE_SECONDS = 2


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
    queue = LocalQueue(handler, size=settings.queue_size, keep_seconds=settings.result_seconds)
    app = http_app.build(queue, status=lambda: _status(host), api_key=settings.api_key)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    working = asyncio.create_task(_work(queue, host, settings))
    failing = asyncio.create_task(host.wait_failure())
    stopping = asyncio.create_task(_stop_signal())
    logger.info("listening on http://%s:%d", *listening.getsockname()[:2])
    await asyncio.wait({serving, failing, stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    error = failing.result() if failing.done() else None
    working.cancel()
    server.should_exit = True
    for task in (working, failing, stopping, serving):
        if task is not serving:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return error


async def _work(queue: LocalQueue, host: Host, settings: Settings) -> None:
    if settings.startup_wait == "all":
        with suppress(ComfyportError):
            await host.wait_ready()
    await queue.work()


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
