"""Waits for a prompt to end: listens to the WebSocket, and asks `/history`, which alone is believed.

A message can be lost, and `execution_success` is sent before `/history` holds the prompt; so a message only wakes
the next question, and without any message a question is asked every second.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from comfyport.comfyui.client import Client, Json, Picture
from comfyport.errors import ComfyUIUnreachable, JobLost

logger = logging.getLogger(__name__)

ENDINGS = {"execution_success", "execution_error", "execution_interrupted"}
POLL_SECONDS = 1.0
# Between an ending's message and the entry in `/history` lie milliseconds.
POLL_SECONDS_AFTER_ENDING = 0.02
QUICK_POLLS = 50
RECONNECT_SECONDS = 0.5
# So long without an answer, and it hangs: longer than a checkpoint takes to load while the interpreter is held.
SILENT_SECONDS = 60.0
# A prompt leaves the queue a moment before it enters the history.
LOST_SECONDS = 3.0

MessageObserver = Callable[[Json | Picture], None]


class Listener:
    """Hears ComfyUI's messages to one client id while it is entered, over as many connections as it takes."""

    def __init__(self, client: Client, client_id: str, observe: MessageObserver) -> None:
        self._client = client
        self._client_id = client_id
        self._observe = observe
        self._connected = asyncio.Event()
        self._woken = asyncio.Event()
        self._quick_polls = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Returns once the first message has come, so that none of a prompt sent after it is missed."""
        self._task = asyncio.create_task(self._listen(), name="comfyui-messages")
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._connected.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def pause(self) -> None:
        """Waits until it makes sense to ask again whether a prompt has ended."""
        quick = self._quick_polls > 0
        self._quick_polls -= 1
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS_AFTER_ENDING if quick else POLL_SECONDS):
                await self._woken.wait()
        self._woken.clear()

    async def _listen(self) -> None:
        while True:
            async for message in self._client.messages(self._client_id):
                self._connected.set()
                try:
                    self._take(message)
                except Exception:
                    # A message of a custom node can be anything; the job does not hang on it.
                    logger.exception("a message of ComfyUI was not understood")
            await asyncio.sleep(RECONNECT_SECONDS)

    def _take(self, message: Json | Picture) -> None:
        if isinstance(message, Picture):
            self._observe(message)
            return
        kind, data = message.get("type"), message.get("data") or {}
        if kind in ENDINGS or (kind == "executing" and data.get("node") is None):
            self._quick_polls = QUICK_POLLS
            self._woken.set()
        self._observe(message)


async def ended(client: Client, listener: Listener, prompt_id: str) -> Json:
    """The entry of `/history` for a prompt that was queued, as soon as it is there.

    Raises JobLost if ComfyUI knows nothing of the prompt, ComfyUIUnreachable if it does not answer any more.
    """
    silent_since: float | None = None
    last_seen = time.monotonic()
    while True:
        try:
            entry = await client.history(prompt_id)
            if entry is not None:
                return entry
            if await client.is_queued(prompt_id):
                last_seen = time.monotonic()
            silent_since = None
        except ComfyUIUnreachable:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > SILENT_SECONDS:
                raise
        if silent_since is None and time.monotonic() - last_seen > LOST_SECONDS:
            raise JobLost(prompt_id)
        await listener.pause()
