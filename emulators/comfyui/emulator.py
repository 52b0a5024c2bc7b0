"""Puts the emulator together, for tests (`with ComfyUIEmulator() as comfyui`) and for the program."""

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from emulators.comfyui.app import build_app
from emulators.comfyui.execute import Worker
from emulators.comfyui.faults import Faults
from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Settings
from emulators.comfyui.prompt_queue import PromptQueue
from emulators.comfyui.routes_files import FileRoutes
from emulators.comfyui.routes_info import InfoRoutes
from emulators.comfyui.routes_prompts import PromptRoutes
from emulators.comfyui.sockets import Sockets
from emulators.server import LoopbackServer


class ComfyUIEmulator(LoopbackServer):
    """A ComfyUI on `url`. It serves from the moment `with` is entered, or `start_delay` seconds later.

    `base_directory` holds models, input, output and temp; without it a temporary folder does. `faults` are
    names of `emulators.comfyui.faults`. Each step of a KSampler takes `step_seconds`. `crash` is what the
    crash faults do: as a program to exit, by default to vanish from the network.
    `host` may be several addresses with commas between them. `requests` lists what was asked
    (`POST /prompt`), `prompts` the bodies of POST /prompt.
    """

    def __init__(
        self,
        base_directory: Path | str | None = None,
        *,
        faults: Iterable[str] = (),
        start_delay: float = 0.0,
        step_seconds: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        output_directory: Path | str | None = None,
        input_directory: Path | str | None = None,
        temp_directory: Path | str | None = None,
        extra_model_paths: Sequence[Path | str] = (),
        disable_metadata: bool = False,
        previews: bool = False,
        preview_size: int = 512,
        cache_lru: int = 0,
        cache_none: bool = False,
        max_upload_megabytes: float = 100.0,
        cpu: bool = True,
        argv: Sequence[str] = ("main.py",),
        crash: Callable[[], None] | None = None,
    ) -> None:
        self.faults = Faults(faults)
        self.requests: list[str] = []
        self._delay = start_delay or self.faults.number("slow_start")
        self._borrowed = None if base_directory else tempfile.TemporaryDirectory(prefix="comfyui-emulator-")
        self.folders = Folders(
            Path(base_directory or (self._borrowed.name if self._borrowed else ".")),
            output=_path(output_directory),
            input=_path(input_directory),
            temp=_path(temp_directory),
            extra_model_paths=tuple(map(Path, extra_model_paths)),
        )
        max_bytes = round(max_upload_megabytes * 1024 * 1024)
        features = {"supports_preview_metadata": True, "max_upload_size": max_bytes}
        self._queue = PromptQueue(self._tell_status)
        self._sockets = Sockets(self._status, features, self.faults)
        settings = Settings(disable_metadata, step_seconds, previews, preview_size, cache_lru, cache_none)
        self._worker = Worker(self._queue, self._sockets, self.folders, settings, self.faults, crash or self._vanish)
        prompts = PromptRoutes(self._queue, self._worker, self.folders, self.faults)
        self.prompts = prompts.prompts
        files = FileRoutes(self.folders, self.faults)
        info = InfoRoutes(self.folders, features, cpu=cpu, argv=list(argv))
        routes = prompts.routes() + files.routes() + info.routes()
        super().__init__(build_app(routes, self._sockets, self.requests, max_bytes), host=host, port=port)
        self._starting: asyncio.Task[None] | None = None

    def __enter__(self) -> "ComfyUIEmulator":
        shutil.rmtree(self.folders.temp, ignore_errors=True)
        self.folders.temp.mkdir(parents=True)
        super().__enter__()
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.stop()
        super().__exit__(kind, error, traceback)
        self._worker.join()
        shutil.rmtree(self.folders.temp, ignore_errors=True)
        if self._borrowed is not None:
            self._borrowed.cleanup()

    async def _listen(self) -> None:
        if not self._delay:
            await self._open()
            return
        if self.port == 0:
            with socket.socket() as free:
                free.bind((self.host.split(",")[0], 0))
                self.port = free.getsockname()[1]
        self._starting = asyncio.create_task(self._open_later())

    async def _open_later(self) -> None:
        await asyncio.sleep(self._delay)
        await self._open()

    async def _open(self) -> None:
        await self._runner.setup()
        for host in self.host.split(","):
            await web.TCPSite(self._runner, host, self.port, reuse_address=True).start()
            self.port = self._runner.addresses[0][1]

    def _status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self._queue.remaining()}}

    def _tell_status(self) -> None:
        self._sockets.say("status", {"status": self._status()})

    def _vanish(self) -> None:
        """Stops listening and cuts every connection."""
        server = self._runner.server
        for site in list(self._runner.sites):
            listening = getattr(site, "_server", None)
            if listening is not None:
                listening.close()
        for connection in list(server.connections) if server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
