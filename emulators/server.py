"""Runs an aiohttp application on a free loopback port, inside a thread or as a program of its own."""

import asyncio
import contextlib
import secrets
import signal
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web


class LoopbackServer:
    """A web application that serves from the moment `with` is entered until it is left.

    Subclasses build `app`. `port=0` picks a free port; `url` has no slash at its end.
    With `handler_cancellation`, a handler is cancelled when its client hangs up; with `tls` it speaks https.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        handler_cancellation: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.app = app
        self.host = host
        self.port = port
        self.tls = tls
        self._loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.2, handler_cancellation=handler_cancellation
        )
        self._thread = threading.Thread(target=self._turn, name=type(self).__name__, daemon=True)

    @property
    def url(self) -> str:
        """The address that clients use, `http://127.0.0.1:PORT`."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _turn(self) -> None:
        # Leaving it ends the tasks that are left.
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()

    async def _listen(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _hang_up(self) -> None:
        await stop_accepting(self._runner)
        server = self._runner.server
        transports = [connection.transport for connection in server.connections] if server is not None else []
        await self._runner.cleanup()
        for transport in transports:
            if transport is not None:
                # Closed politely, it would wait for a client that does not read.
                transport.abort()


async def stop_accepting(runner: web.AppRunner) -> None:
    """Accepts no more connections, and returns when those that were accepted are known to `runner`.

    Python 3.11 loses a connection whose listener is closed between its accept and its first turn of the loop.
    """
    loop = asyncio.get_running_loop()
    for site in runner.sites:
        listener = getattr(site, "_server", None)
        for listening in listener.sockets if listener is not None else ():
            loop.remove_reader(listening.fileno())
    for _ in range(2):
        await asyncio.sleep(0)


def free_port() -> int:
    """A loopback port that nothing listens on, and that the kernel gives to no connection (Linux: from 32768 on)."""
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def serve_until_interrupted(server: LoopbackServer, greeting: str, *, url_file: Path | None = None) -> None:
    """Runs `server` as a program until Ctrl-C or SIGTERM.

    Once it listens, it prints `greeting` with its address. `url_file` receives the address too, atomically,
    for scripts that wait for it.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with server:
        if url_file is not None:
            unfinished = url_file.with_name(f"{url_file.name}.tmp")
            unfinished.write_text(server.url)
            unfinished.replace(url_file)
        print(f"{greeting} {server.url}", flush=True)
        stopped.wait()
