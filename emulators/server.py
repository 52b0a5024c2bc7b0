"""Runs an aiohttp application on a free loopback port, inside a thread or as a program of its own."""

import asyncio
import signal
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
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)

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
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]


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
