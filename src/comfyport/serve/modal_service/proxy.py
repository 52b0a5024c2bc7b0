"""Hands HTTP requests and WebSockets on to another server, as they are, and brings back what it answers.

Modal's own `web_server` does that too, but decodes paths for good: ComfyUI's page then cannot save or open a workflow,
whose name is one segment of a path, `/userdata/workflows%2Fa.json` (modal-labs/modal-examples, issue 1475).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from yarl import URL

# What is between two neighbours on the way only (RFC 9110, 7.6.1), and what aiohttp says of a WebSocket itself.
_NEIGHBOURS = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_USER_FILE = re.compile(r"((?:/api)?/userdata/)(.+?)(?:(/move/)(.+))?", re.DOTALL)
# RFC 6455, 7.4.1: the server is restarting.
_TRY_AGAIN = 1012


def build(
    target: str, *, headers: Mapping[str, str] | None = None, withheld: frozenset[str] = frozenset()
) -> Starlette:
    """An application that shows the server at `target`, which gets each request's headers but those `withheld`.

    `headers` are sent in place of a request's own of the same names, or besides them.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # A connection that ComfyUI has closed meanwhile would cost a request, so none is kept.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        ) as session:
            app.state.door = _Door(target, headers or {}, withheld, session)
            yield

    async def request(request: Request) -> Response:
        return await request.app.state.door.request(request)  # type: ignore[no-any-return]

    async def websocket(socket: WebSocket) -> None:
        await socket.app.state.door.websocket(socket)

    routes = [Route("/{path:path}", request, methods=_METHODS), WebSocketRoute("/{path:path}", websocket)]
    return Starlette(routes=routes, lifespan=lifespan)


def encoded(path: str) -> str:
    """A decoded path as ComfyUI takes it: the name of a user's file, with its slashes, is one segment."""
    match = _USER_FILE.fullmatch(path)
    if match is None:
        return quote(path, safe="/:@!$&'()*+,;=-._~")
    before, file, move, destination = match.groups()
    return before + quote(file, safe="") + (move + quote(destination, safe="") if move else "")


class _Door:
    """Asks the server at `target`."""

    def __init__(
        self, target: str, headers: Mapping[str, str], withheld: frozenset[str], session: aiohttp.ClientSession
    ) -> None:
        self._target = target
        self._headers = headers
        self._dropped = _NEIGHBOURS | withheld | {name.lower() for name in headers}
        self._session = session

    async def request(self, request: Request) -> Response:
        """What the server answers, streamed; 503 if there is none right now."""
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        try:
            answer = await self._session.request(
                request.method,
                self._address(request),
                headers=self._kept(request.headers.items()),
                data=request.stream() if has_body else None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        except aiohttp.ClientConnectionError:
            return PlainTextResponse("ComfyUI starts again. Come back in a moment.", 503, {"Retry-After": "5"})
        response = StreamingResponse(
            answer.content.iter_any(), answer.status, background=BackgroundTask(answer.release)
        )
        response.raw_headers = [
            (name.lower(), value)
            for name, value in answer.raw_headers
            if name.decode("latin-1").lower() not in _NEIGHBOURS
        ]
        return response

    async def websocket(self, socket: WebSocket) -> None:
        """Connects both sides until one of them closes."""
        headers = [(name, text) for name, text in socket.headers.items() if not name.startswith("sec-websocket-")]
        try:
            async with self._session.ws_connect(
                self._address(socket),
                headers=self._kept(headers),
                protocols=socket.scope.get("subprotocols") or (),
                max_msg_size=0,
            ) as server:
                await socket.accept(server.protocol)
                ways = {
                    asyncio.create_task(_to_server(socket, server)),
                    asyncio.create_task(_to_client(server, socket)),
                }
                done, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
                await asyncio.gather(*done, *pending, return_exceptions=True)
        except aiohttp.ClientError:
            await socket.close(_TRY_AGAIN)

    def _address(self, connection: HTTPConnection) -> URL:
        raw: bytes | None = connection.scope.get("raw_path")
        path = raw.decode("latin-1").partition("?")[0] if raw else encoded(connection.scope["path"])
        query = connection.scope["query_string"].decode("latin-1")
        return URL(self._target + path + (f"?{query}" if query else ""), encoded=True)

    def _kept(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        kept = ((name, text) for name, text in headers if name.lower() not in self._dropped)
        return [*kept, *self._headers.items()]


async def _to_server(socket: WebSocket, server: "aiohttp.ClientWebSocketResponse[Any]") -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            await server.close()
            return
        if (text := message.get("text")) is not None:
            await server.send_str(text)
        else:
            await server.send_bytes(message["bytes"])


async def _to_client(server: "aiohttp.ClientWebSocketResponse[Any]", socket: WebSocket) -> None:
    try:
        async for message in server:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_text(message.data)
            else:
                await socket.send_bytes(message.data)
        await socket.close(server.close_code or _TRY_AGAIN)
    except (WebSocketDisconnect, RuntimeError):
        # The client has gone meanwhile; starlette says either.
        return
