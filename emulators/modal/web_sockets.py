"""WebSockets of web functions: the messages of ASGI's websocket protocol, as `data_in` and `data_out` of a call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import WSMsgType, web
from modal_proto import api_pb2

Put = Callable[[Any], None]


def asked_for(request: web.Request) -> bool:
    """Whether a request wants to become a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def subprotocols(request: web.Request) -> list[str]:
    """What the client offers to speak."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return [name.strip() for name in offered.split(",") if name.strip()]


async def carry(request: web.Request, messages: AsyncIterator[Any], put: Put) -> web.StreamResponse:
    """Connects the client with the function, until one of them closes."""
    put(api_pb2.Asgi(websocket_connect=api_pb2.Asgi.WebsocketConnect()))
    first = await anext(messages, None)
    if first is None or first.WhichOneof("type") != "websocket_accept":
        return web.Response(status=403, text="modal-http: the function did not accept the WebSocket")
    chosen = first.websocket_accept.subprotocol
    socket = web.WebSocketResponse(protocols=[chosen] if chosen else [], max_msg_size=0)
    await socket.prepare(request)
    down = asyncio.create_task(_to_client(socket, messages))
    try:
        await _to_function(socket, put)
    finally:
        down.cancel()
        code = socket.close_code or 1005
        put(api_pb2.Asgi(websocket_disconnect=api_pb2.Asgi.WebsocketDisconnect(code=code)))
    return socket


async def _to_function(socket: web.WebSocketResponse, put: Put) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            put(api_pb2.Asgi(websocket_receive=api_pb2.Asgi.WebsocketReceive(text=message.data)))
        elif message.type is WSMsgType.BINARY:
            put(api_pb2.Asgi(websocket_receive=api_pb2.Asgi.WebsocketReceive(bytes=message.data)))


async def _to_client(socket: web.WebSocketResponse, messages: AsyncIterator[Any]) -> None:
    async for message in messages:
        kind = message.WhichOneof("type")
        if kind == "websocket_send" and message.websocket_send.HasField("text"):
            await socket.send_str(message.websocket_send.text)
        elif kind == "websocket_send":
            await socket.send_bytes(message.websocket_send.bytes)
        elif kind == "websocket_close":
            await socket.close(code=message.websocket_close.code, message=message.websocket_close.reason.encode())
            return
    # A function that ended without a word, its container with it.
    await socket.close(code=1011)
