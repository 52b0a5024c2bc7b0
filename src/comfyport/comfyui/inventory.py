"""Keeps what the ComfyUI that runs now can run: asked for as soon as it is ready, so that no job waits for it.

`/object_info` has one to three megabytes, and ComfyUI takes tenths of a second to make it: it is asked for once in
each life of ComfyUI, and anew only when a workflow names what is not in it.
"""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Self

from comfyport.comfyui.catalogue import Catalogue
from comfyport.comfyui.client import Client
from comfyport.comfyui.process import ComfyUI, Health
from comfyport.errors import ComfyUIError, ComfyUIRefused, ComfyUIUnreachable

logger = logging.getLogger(__name__)


class Inventory:
    """The catalogue of one ComfyUI, kept up to date while this is entered; empty while nothing is known."""

    def __init__(self, client: Client, comfyui: ComfyUI) -> None:
        self.catalogue = Catalogue({})
        self._client = client
        self._comfyui = comfyui
        self._asked_in: Health | None = None
        self._asked_at = 0.0
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._ask_early(), name="object-info")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def known(self) -> bool:
        """Whether `catalogue` is that of the ComfyUI that runs now; asks it if nobody has."""
        return await self._ask(since=0.0)

    async def renewed(self) -> bool:
        """Whether `catalogue` is as it is now; asks ComfyUI."""
        return await self._ask(since=asyncio.get_running_loop().time())

    async def has_opaque(self, class_type: str) -> bool:
        """Whether there is a node of which ComfyUI cannot tell anything: it fails to say what its inputs are."""
        try:
            return bool(await self._client.object_info(class_type))
        except ComfyUIRefused as error:
            return int(error.details["status"]) >= 500
        except ComfyUIUnreachable:
            return True

    async def _ask_early(self) -> None:
        with suppress(ComfyUIError):
            while True:
                await self._comfyui.wait_ready()
                await self.known()
                while self._comfyui.health.state == "ready":
                    await self._comfyui.wait_death()

    async def _ask(self, *, since: float) -> bool:
        """Asks ComfyUI, unless it was asked after `since`; False if it does not tell."""
        async with self._asking:
            health = self._comfyui.health
            if self._asked_in is health and self._asked_at >= since:
                return True
            asked_at = asyncio.get_running_loop().time()
            try:
                self.catalogue = Catalogue(await self._client.object_info())
            except (ComfyUIRefused, ComfyUIUnreachable) as error:
                logger.warning("ComfyUI does not tell what it can run, so that it alone judges workflows: %s", error)
                return False
            self._asked_in, self._asked_at = health, asked_at
        return True
