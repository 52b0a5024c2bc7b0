"""The websockets: who is connected, and the messages for them in the order in which they were said."""

import asyncio
import json
import logging
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from aiohttp import WSMsgType, web
from PIL import ImageOps

from emulators.comfyui.faults import Faults
from emulators.comfyui.node import Preview

logger = logging.getLogger(__name__)

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
"""The kinds of binary message, in the first 4 bytes (big-endian)."""
IMAGE_TYPES = {"JPEG": 1, "PNG": 2}


@dataclass
class Connection:
    """One open websocket."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    features: dict[str, Any] = field(default_factory=dict)
    sent: int = 0


class Sockets:
    """Sends messages to one client or to all.

    `status` gives the queue's state; `features` is what the server can do. `client_id` and `node_id` say
    whose prompt runs and which node, for a client that comes back while it does.
    """

    def __init__(self, status: Callable[[], dict[str, Any]], features: dict[str, Any], faults: Faults) -> None:
        self.client_id: str | None = None
        self.node_id: str | None = None
        self._status = status
        self._features = features
        self._faults = faults
        self._connections: dict[str, Connection] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()

    def say(self, event: str, data: dict[str, Any], client_id: str | None = None) -> None:
        """Sends JSON to one client, or to all if `client_id` is None; may be called from any thread."""
        message = json.dumps({"type": event, "data": data})
        self._post(lambda: self._send(message, client_id))

    def show(self, preview: Preview, metadata: dict[str, Any], client_id: str | None) -> None:
        """Sends a sampler's preview to one client: with metadata if it asked for that, else the picture alone."""
        connection = self._connections.get(client_id or "")
        wants_metadata = connection is not None and connection.features.get("supports_preview_metadata") is True
        message = encode_preview(preview, metadata if wants_metadata else None)
        self._post(lambda: self._send(message, client_id))

    def after_all_said(self, action: Callable[[], Any]) -> None:
        """Calls `action` once every message so far is on its way."""
        self._post(action)

    async def publish(self) -> None:
        """Sends what was said, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            answer = (await self._outbox.get())()
            if answer is not None:
                await answer

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws?clientId=: stays until the client leaves.

        As in ComfyUI, the end of a connection takes the client id off the list even if a newer connection
        goes by that id: a client that reconnects before its first connection has ended hears nothing more.
        """
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId", "") or uuid.uuid4().hex
        connection = Connection(socket, request.transport)
        self._connections[client_id] = connection
        try:
            await self._greet(client_id)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(message.data, connection, client_id)
        finally:
            self._connections.pop(client_id, None)
        return socket

    async def close(self) -> None:
        """Ends every connection."""
        for connection in list(self._connections.values()):
            await connection.socket.close()

    async def _greet(self, client_id: str) -> None:
        status = {"type": "status", "data": {"status": self._status(), "sid": client_id}}
        await self._send(json.dumps(status), client_id)
        if self.client_id == client_id and self.node_id is not None:
            await self._send(json.dumps({"type": "executing", "data": {"node": self.node_id}}), client_id)

    async def _hear(self, text: str, connection: Connection, client_id: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            logger.warning("Invalid JSON received from client %s: %s", client_id, text)
            return
        if isinstance(message, dict) and message.get("type") == "feature_flags":
            connection.features = message.get("data", {})
            await self._send(json.dumps({"type": "feature_flags", "data": self._features}), client_id)

    def _post(self, action: Callable[[], Any]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._outbox.put_nowait, action)

    async def _send(self, message: str | bytes, client_id: str | None) -> None:
        if client_id is None:
            connections = list(self._connections.values())
        else:
            connections = [c for c in (self._connections.get(client_id),) if c is not None]
        for connection in connections:
            try:
                if isinstance(message, str):
                    await connection.socket.send_str(message)
                else:
                    await connection.socket.send_bytes(message)
            except ConnectionError as error:
                logger.warning("send error: %s", error)
            connection.sent += 1
            self._cut_if_asked(connection)

    def _cut_if_asked(self, connection: Connection) -> None:
        every = connection.sent == self._faults.number("drop_every_websocket")
        reached = connection.sent == self._faults.number("drop_websocket")
        first = reached and self._faults.only_once("drop_websocket")
        if connection.transport is not None and (every or first):
            connection.transport.abort()


def encode_preview(preview: Preview, metadata: dict[str, Any] | None) -> bytes:
    """A preview as a binary message; all numbers are 4 bytes, big-endian.

    Without metadata: 1, image type (1 JPEG, 2 PNG), picture.
    With: 4, length of the JSON, JSON, picture.
    """
    kind, image, longest = preview
    picture = BytesIO()
    ImageOps.contain(image, (longest, longest)).save(picture, format=kind, quality=95)
    if metadata is None:
        return struct.pack(">II", PREVIEW_IMAGE, IMAGE_TYPES[kind]) + picture.getvalue()
    told = json.dumps({**metadata, "image_type": f"image/{kind.lower()}"}).encode()
    return struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(told)) + told + picture.getvalue()
