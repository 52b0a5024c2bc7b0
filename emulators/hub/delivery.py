"""Sends a file: whole or in part, at a pace, and spoiled by a fault where one is due."""

import asyncio
import socket
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal

from aiohttp import web

from emulators.hub.content import (
    CHUNK,
    BytesContent,
    ChangedContent,
    Content,
    FlippedContent,
    ShortenedContent,
)
from emulators.hub.faults import Fault, FaultBook, shows
from emulators.hub.ranges import Selection, select, unsatisfiable
from emulators.hub.records import EXCHANGE

LOGIN_PAGE = "<!doctype html>\n<title>Log in</title>\n<h1>Log in</h1>\n<p>Log in to download this file.</p>\n"

_PIECES_PER_SECOND = 20


class Delivery:
    """Answers requests for the bytes of a file.

    `rate` caps each answer, in bytes per second, and may be changed at any time. `elsewhere` turns a label and a
    content into a URL on another host that serves it to anybody.
    """

    def __init__(self, book: FaultBook, *, rate: float | None, elsewhere: Callable[[str, Content], str]) -> None:
        self._book = book
        self.rate = rate
        self._elsewhere = elsewhere

    async def send(
        self, request: web.Request, label: str, content: Content, *, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """The answer to GET or HEAD for `content`; `headers` has the ETag. Only GET suffers faults."""
        selection = select(request.method, request.headers, size=content.size, etag=headers["ETag"])
        if request.method != "GET" or selection.status not in (200, 206):
            return await self._stream(request, content, selection, headers)
        fault = self._book.choose(
            "body",
            label,
            partial(shows, asks_range="Range" in request.headers, start=selection.start, length=selection.length),
        )
        if fault is None:
            return await self._stream(request, content, selection, headers)
        request[EXCHANGE].fault = fault.name
        if fault.name == "redirect_other_host":
            return web.Response(status=302, headers={"Location": self._elsewhere(label, content)})
        return await self._spoil(request, content, selection, headers, fault)

    async def send_plain(
        self, request: web.Request, content: Content, *, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """The same without any fault."""
        selection = select(request.method, request.headers, size=content.size, etag=headers["ETag"])
        return await self._stream(request, content, selection, headers)

    def instead(self, request: web.Request, where: Literal["resolve", "api"], label: str) -> Fault | None:
        """The fault that replaces an answer which is not the file itself, if one is due."""
        fault = self._book.choose(where, label, lambda _: True)
        if fault is not None:
            request[EXCHANGE].fault = fault.name
        return fault

    async def _spoil(
        self,
        request: web.Request,
        content: Content,
        selection: Selection,
        headers: Mapping[str, str],
        fault: Fault,
    ) -> web.StreamResponse:
        match fault.name:
            case "truncate" | "reset" | "stall":
                return await self._stream(request, content, selection, headers, cut=fault)
            case "slow":
                return await self._stream(request, content, selection, headers, rate=fault.rate)
            case "416":
                return await self._stream(request, content, unsatisfiable(content.size), headers)
            case "ignore_range":
                return await self._stream(request, content, Selection(200, 0, content.size), headers)
            case "empty":
                return await self._stream(request, BytesContent(b""), Selection(200, 0, 0), headers)
            case "flip_bit":
                middle = selection.start + selection.length // 2
                flipped = FlippedContent(content, middle if fault.at is None else fault.at)
                return await self._stream(request, flipped, selection, headers)
            case "change_mid_way":
                changed = {**headers, "ETag": f'"changed-{headers["ETag"].strip(chr(34))}"'}
                return await self.send_plain(request, ChangedContent(content), headers=changed)
            case "wrong_length":
                return await self.send_plain(request, ShortenedContent(content, fault.at or 1), headers=headers)
            case "gzip_encoding":
                return await self._stream_gzip(request, content, headers)
            case _:
                return replacement(fault)

    async def _stream(
        self,
        request: web.Request,
        content: Content,
        selection: Selection,
        headers: Mapping[str, str],
        *,
        rate: float | None = None,
        cut: Fault | None = None,
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=selection.status, headers=headers)
        response.headers["Accept-Ranges"] = "bytes"
        if selection.content_range is not None:
            response.headers["Content-Range"] = selection.content_range
        if selection.status != 304:
            response.content_length = selection.length
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        length = selection.length
        if cut is not None:
            length = length // 2 if cut.at is None else cut.at
        with suppress(ConnectionResetError):
            # An empty write sends the headers, which would otherwise wait for the first bytes.
            await response.write(b"")
            await self._send_span(request, response, content, selection.start, length, rate)
        if cut is not None:
            await _break_off(request, cut)
        return response

    async def _send_span(
        self,
        request: web.Request,
        response: web.StreamResponse,
        content: Content,
        start: int,
        length: int,
        rate: float | None,
    ) -> None:
        """`rate` is that of a fault; without one the rate of all holds, as it is at each piece."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        fastest = rate or self.rate
        step = CHUNK if fastest is None else max(1, min(CHUNK, int(fastest / _PIECES_PER_SECOND)))
        for chunk in content.chunks(start, length, step):
            await _write(request, response, chunk)
            if (now := rate or self.rate) is None:
                due = loop.time()
            else:
                due += len(chunk) / now
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def _stream_gzip(
        self, request: web.Request, content: Content, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """The whole file, compressed on the way as a CDN may do: no length, no ranges, whatever was asked."""
        weak = f"W/{headers['ETag']}"
        response = web.StreamResponse(headers={**headers, "ETag": weak, "Content-Encoding": "gzip"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        packer = zlib.compressobj(level=1, wbits=31)
        with suppress(ConnectionResetError):
            for chunk in content.chunks(0, content.size):
                await _write(request, response, packer.compress(chunk))
            await _write(request, response, packer.flush())
        return response


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    request[EXCHANGE].bytes_sent += len(data)
    await response.write(data)


def replacement(fault: Fault) -> web.Response:
    """The whole answer that comes in place of the right one: 429, 503, login_page or json_error."""
    wait = {"Retry-After": str(fault.retry_after)}
    match fault.name:
        case "429":
            return web.json_response({"error": "Too Many Requests"}, status=429, headers=wait)
        case "503":
            return web.Response(status=503, text="Service Unavailable", headers=wait)
        case "login_page":
            return web.Response(text=LOGIN_PAGE, content_type="text/html")
        case "json_error":
            return web.json_response({"error": "Something went wrong"})
        case _:
            raise ValueError(f"The fault {fault.name!r} does not replace an answer.")


async def _break_off(request: web.Request, fault: Fault) -> None:
    """Ends the connection before the promised length: with FIN or RST, or never, until the client leaves."""
    if fault.name == "stall":
        await asyncio.Event().wait()
    transport = request.transport
    if transport is None:
        return
    if fault.name == "reset":
        # Lingering for no seconds makes close() send RST instead of FIN.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()
