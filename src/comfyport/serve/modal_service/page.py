"""ComfyUI's own page on Modal: one ComfyUI with the Volume's models, whose users' files are kept there too (modal 1.6).

No job comes here, so there is no worker: nothing is cleared away, and no API is served beside ComfyUI's own. Who may
see it is Modal's to say, before a request gets here.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp
from starlette.applications import Starlette

from comfyport import supply, wiring
from comfyport.comfyui import gpu
from comfyport.comfyui.client import Client
from comfyport.comfyui.launch import Launch
from comfyport.comfyui.ports import require_free
from comfyport.errors import ComfyUIError
from comfyport.models import amendments
from comfyport.models.lock import Entry
from comfyport.serve import logs
from comfyport.serve.modal_service import proxy, service
from comfyport.settings import Settings
from comfyport.startup import Download
from comfyport.status import Board

logger = logging.getLogger(__name__)

# What users make, beside the models: settings and workflows, inputs, outputs.
KEPT = "comfyui"


class Page:
    """ComfyUI and the download of its models, in a thread with an event loop, from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="page", daemon=True)

    def start(self) -> Self:
        """Returns when ComfyUI answers; models may still be on their way. Raises ComfyportError."""
        self._thread.start()
        self._do(self._start())
        return self

    def wait_failure(self) -> ComfyUIError:
        """Returns why there will be no ComfyUI any more, as soon as that is clear; blocks."""
        failure: ComfyUIError = self._do(self.comfyui.wait_failure())
        return failure

    def stop(self) -> None:
        """Ends both."""
        self._do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        settings, environ = self._settings, dict(os.environ)
        require_free("127.0.0.1", settings.comfyui_port, setting="COMFYUI_PORT")
        if settings.device == "gpu":
            logger.info("GPU: %s", await gpu.check())
        volume = supply.volume(settings)
        volume.make_folders()
        board = Board(settings.run_folder)
        board.clear()
        async with AsyncExitStack() as stack:
            entries: tuple[Entry, ...] = ()
            if settings.download_on_startup:
                entries = amendments.choose(settings.lock, volume, settings.model_groups)
                download = Download(board, environ, wait_seconds=None)
                stack.push_async_callback(download.stop)
                await download.start(prefetch=settings.prefetch != "off")
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = Client(f"http://127.0.0.1:{settings.comfyui_port}", session)
            made = wiring.comfyui(
                settings,
                environ,
                entries,
                volume,
                client.url,
                ready=client.answers,
                notice=lambda health: board.write("comfyui", health.as_section()),
                launch=Launch(kept=volume.root.absolute() / KEPT),
            )
            self.comfyui = await stack.enter_async_context(made)
            await self.comfyui.wait_ready()
            self._stack = stack.pop_all()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


_shown: Page | None = None


def start() -> None:
    """Starts this container's page. Raises ComfyportError."""
    global _shown
    settings = Settings.load()
    logs.configure(settings.log_level)
    _shown = Page(settings).start()
    service.leave_when(_shown.wait_failure)


def show() -> Starlette:
    """The application that shows this container's ComfyUI."""
    return proxy.build(f"http://127.0.0.1:{Settings.load().comfyui_port}")


def stop() -> None:
    """Ends this container's page, if it was started."""
    if _shown is not None:
        _shown.stop()
