"""A ComfyUI that is up before its container has a GPU, so that a memory snapshot can be taken of it (Modal).

A process in such a snapshot goes on in another container, days later and many times over. So nothing is under way in it
but ComfyUI itself: no download, no connection, no file of the volume's; and what must be its own in each container, the
seeds of its random numbers and the secrets in its environment, is renewed by `resume`.
"""

import logging
import os
import random
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import aiohttp

from comfyport import supply, wiring
from comfyport.comfyui import gpu
from comfyport.comfyui.attach import Deferred
from comfyport.comfyui.client import Client
from comfyport.comfyui.launch import WORKER, Launch
from comfyport.comfyui.ports import require_free
from comfyport.comfyui.process import ComfyUI, Health, Supervised
from comfyport.errors import ComfyUIError, SnapshotFailed
from comfyport.models import amendments
from comfyport.settings import Settings
from comfyport.status import Board

logger = logging.getLogger(__name__)


class Early:
    """ComfyUI from `async with` to its end; entered when it answers, and without a GPU until `resume`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environ = environ
        self._board = Board(settings.run_folder)
        self._deferred = Deferred(settings.comfyui_port) if settings.device == "gpu" else None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Starts ComfyUI and waits for it. Raises PortInUse, or SnapshotFailed."""
        require_free("127.0.0.1", self._settings.comfyui_port, setting="COMFYUI_PORT")
        async with AsyncExitStack() as stack:
            self._board.clear()
            # A connection that were kept open would be in the snapshot.
            connector = aiohttp.TCPConnector(force_close=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            self._client = Client(f"http://127.0.0.1:{self._settings.comfyui_port}", session)
            launch = self._deferred.launch if self._deferred else WORKER
            self._comfyui = await stack.enter_async_context(self._made(self._settings, self._environ, launch))
            try:
                await self._comfyui.wait_ready()
            except ComfyUIError as error:
                raise SnapshotFailed(f"it does not start without a GPU. {error.message}") from None
            if self._deferred:
                await self._deferred.rehearse()
            self._stack = stack.pop_all()
        logger.info("ComfyUI is up, and waits for its GPU")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def resume(self, settings: Settings, environ: Mapping[str, str]) -> ComfyUI:
        """Gives ComfyUI its GPU, in whichever container this is now. Raises NoGPU, or SnapshotFailed."""
        random.seed()
        ssl.RAND_add(os.urandom(32), 32.0)
        self._notice(self._comfyui.health)
        # Should it die, the next one finds the GPU in its place.
        later = self._made(settings, environ, WORKER)
        self._comfyui.command, self._comfyui.environ = later.command, later.environ
        if self._deferred:
            await gpu.check()
            logger.info("GPU: %s", await self._deferred.attach())
        return self._comfyui

    def _made(self, settings: Settings, environ: Mapping[str, str], launch: Launch) -> Supervised:
        downloads = settings.download_on_startup
        volume = supply.volume(settings)
        volume.make_folders()
        entries = amendments.choose(settings.lock, volume, settings.model_groups) if downloads else ()
        made = wiring.comfyui(
            settings,
            dict(environ),
            entries,
            volume,
            self._client.url,
            ready=self._client.answers,
            notice=self._notice,
            launch=launch,
        )
        if not isinstance(made, Supervised):
            raise SnapshotFailed("COMFYUI_URL names one that somebody else starts")
        return made

    def _notice(self, health: Health) -> None:
        self._board.write("comfyui", health.as_section())
