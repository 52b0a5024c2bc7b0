"""What may stand between a client and a server: a tunnel, a forward proxy, an end of TLS. All only pass bytes on."""

import asyncio
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class _Relay:
    """Listens on a free loopback port from `with` to its end."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._guarded, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        # A transport lets go of its socket in the loop's next round.
        await asyncio.sleep(0)

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _reach(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(writer)
        return reader, writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class TlsFront(_Relay):
    """Takes TLS off, and passes what is inside on to a plain server's port."""

    def __init__(self, tls: ssl.SSLContext, port: int) -> None:
        super().__init__(tls)
        self._behind = port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, *await self._reach(self._behind))


class Tunnel(_Relay):
    """Passes connections on to a server's port, until they are cut; new ones may come."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._behind = port

    def cut(self) -> None:
        """Breaks every connection off, as a network does that goes away for a moment."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, *await self._reach(self._behind))


class ForwardProxy(_Relay):
    """A proxy for http (absolute addresses) and https (CONNECT); with `credentials` it wants them, as user:password.

    `asked` has the first line and the Proxy-Authorization header of each request. Names lead to loopback, all of them.
    """

    def __init__(self, credentials: bytes | None = None, *, refuses: int = 407) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []
        self._wanted = credentials
        self._refuses = refuses

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *headers = head[:-4].split("\r\n")
        own = [header.partition(": ")[2] for header in headers if header.lower().startswith("proxy-authorization:")]
        self.asked.append((line, "".join(own)))
        if self._wanted is not None and own != [self._wanted.decode()]:
            writer.write(f"HTTP/1.1 {self._refuses} Refused\r\nContent-Length: 0\r\n\r\n".encode())
            return
        method, target, version = line.split(" ")
        if method == "CONNECT":
            there = await self._reach(int(target.rpartition(":")[2]))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            address = urlsplit(target)
            there = await self._reach(address.port or 80)
            rest = [header for header in headers if not header.lower().startswith(("proxy-", "connection:"))]
            path = address._replace(scheme="", netloc="").geturl()
            passed = [f"{method} {path} {version}", *rest, "Connection: close"]
            there[1].write("\r\n".join([*passed, "", ""]).encode("latin-1"))
        await _join(reader, writer, *there)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other_writer: asyncio.StreamWriter,
) -> None:
    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await source.read(1 << 16):
                target.write(block)
                await target.drain()
        target.close()

    await asyncio.gather(pass_on(reader, other_writer), pass_on(other_reader, writer))
