"""ComfyUI's HTTP API and WebSocket, as far as a job needs them (ComfyUI's server.py, v0.3.64)."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from comfyport.comfyui.rejection import rejection
from comfyport.errors import ComfyUIRefused, ComfyUIUnreachable

logger = logging.getLogger(__name__)

Json = dict[str, Any]

# ComfyUI's web server shares the interpreter with the nodes: while a checkpoint loads, an answer can take seconds.
REQUEST = aiohttp.ClientTimeout(total=30)
TRANSFER = aiohttp.ClientTimeout(total=600, sock_read=60)
PROBE = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True)
class StoredFile:
    """A file as ComfyUI names it: `type` is input, output or temp."""

    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Queued:
    """A prompt that ComfyUI took; `node_errors` say why it leaves some of its outputs out."""

    prompt_id: str
    node_errors: Json


@dataclass(frozen=True)
class Picture:
    """A preview that ComfyUI sent while a node works: a JPEG or PNG."""

    media_type: str
    content: bytes


class Client:
    """Asks the ComfyUI at `url`. Network failures are raised as ComfyUIUnreachable."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def answers(self) -> bool:
        """Whether ComfyUI is up."""
        try:
            async with self._session.get(f"{self.url}/system_stats", timeout=PROBE) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def upload(self, name: str, content: Path) -> StoredFile:
        """Puts a file into ComfyUI's input folder or one below it, over one of the same name. Raises ComfyUIRefused."""
        # Quoted, `in put.png` would arrive as `in%20put.png`.
        form = aiohttp.FormData(quote_fields=False)
        folder, _, last = name.rpartition("/")
        with content.open("rb") as opened:
            form.add_field("image", opened, filename=last, content_type="application/octet-stream")
            form.add_field("overwrite", "true")
            form.add_field("subfolder", folder)
            async with self._ask("POST", "/upload/image", data=form, timeout=TRANSFER) as response:
                stored = _told(await response.text(errors="replace"), "POST /upload/image", "name", "subfolder", "type")
        return StoredFile(str(stored["name"]), str(stored["subfolder"]), str(stored["type"]))

    async def submit(self, workflow: Json, *, client_id: str, extra_data: Json) -> Queued:
        """Queues a workflow. Raises WorkflowRejected when ComfyUI's validation refuses it, or ComfyUIRefused."""
        body: Json = {"prompt": workflow, "client_id": client_id}
        if extra_data:
            body["extra_data"] = extra_data
        try:
            async with self._session.post(f"{self.url}/prompt", json=body, timeout=REQUEST) as response:
                text = await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None
        if response.status == 400:
            raise rejection(text, workflow)
        if response.status != 200:
            raise ComfyUIRefused("POST /prompt", status=response.status, body=text)
        accepted = _told(text, "POST /prompt", "prompt_id")
        node_errors = accepted.get("node_errors")
        return Queued(str(accepted["prompt_id"]), node_errors if isinstance(node_errors, dict) else {})

    async def history(self, prompt_id: str) -> Json | None:
        """What became of a prompt; None while it has not ended."""
        async with self._ask("GET", f"/history/{prompt_id}", timeout=REQUEST) as response:
            entry: Json | None = _told(await response.text(errors="replace"), "GET /history").get(prompt_id)
        return entry

    async def is_queued(self, prompt_id: str) -> bool:
        """Whether a prompt runs or waits."""
        async with self._ask("GET", "/queue", timeout=REQUEST) as response:
            text = await response.text(errors="replace")
        queue = _told(text, "GET /queue", "queue_running", "queue_pending")
        return any(item[1] == prompt_id for item in (*queue["queue_running"], *queue["queue_pending"]))

    async def cancel(self, prompt_id: str) -> None:
        """Takes a prompt out of the queue, or interrupts it if it is the one that runs; no other is touched."""
        async with self._ask("POST", "/queue", json={"delete": [prompt_id]}, timeout=REQUEST):
            pass
        async with self._ask("POST", "/interrupt", json={"prompt_id": prompt_id}, timeout=REQUEST):
            pass

    async def download(self, file: StoredFile, to: Path) -> None:
        """Writes the content of an output to a file. Raises ComfyUIRefused."""
        asked = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        async with self._ask("GET", "/view", params=asked, timeout=TRANSFER) as response:
            with to.open("wb") as opened:
                async for block in response.content.iter_chunked(1 << 20):
                    opened.write(block)

    async def object_info(self, class_type: str = "") -> Json:
        """What ComfyUI can run: each node's inputs, with the choices that there are now; of one class if named.

        Raises ComfyUIRefused.
        """
        path = f"/object_info/{quote(class_type, safe='')}" if class_type else "/object_info"
        async with self._ask("GET", path, timeout=REQUEST) as response:
            return _told(await response.text(errors="replace"), f"GET {path}")

    async def messages(self, client_id: str) -> AsyncIterator[Json | Picture]:
        """ComfyUI's messages and previews to `client_id` until the connection ends."""
        try:
            async with self._session.ws_connect(
                f"{self.url}/ws", params={"clientId": client_id}, heartbeat=20, max_msg_size=0
            ) as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield json.loads(message.data)
                    elif message.type is aiohttp.WSMsgType.BINARY and (picture := _picture(message.data)):
                        yield picture
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            logger.debug("the connection to ComfyUI's WebSocket ended: %s", error)

    @asynccontextmanager
    async def _ask(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, URL(self.url + path, encoded=True), **options) as response:
                if response.status != 200:
                    body = await response.text(errors="replace")
                    raise ComfyUIRefused(f"{method} {path}", status=response.status, body=body)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> ComfyUIUnreachable:
        if isinstance(error, asyncio.TimeoutError):
            return ComfyUIUnreachable(self.url, "it does not answer in time")
        return ComfyUIUnreachable(self.url, str(error) or type(error).__name__)


def _told(text: str, request: str, *keys: str) -> Json:
    """The object in the body of a 200, which has these keys. Raises ComfyUIRefused: a proxy may have answered."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not all(key in told for key in keys):
        raise ComfyUIRefused(request, status=200, body=text)
    return told


def _picture(frame: bytes) -> Picture | None:
    """A binary message as a preview: event 1, then image type 1 (JPEG) or 2 (PNG), big endian (ComfyUI's server.py)."""
    if frame[:4] != b"\0\0\0\1":
        return None
    media_type = {b"\0\0\0\1": "image/jpeg", b"\0\0\0\2": "image/png"}.get(frame[4:8])
    return Picture(media_type, frame[8:]) if media_type else None
