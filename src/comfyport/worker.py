"""Puts it together: the models' download, ComfyUI and the jobs make a running worker.

async with Worker(Settings.load()) as worker:
    await worker.wait_ready()
    answer = await worker.run(job)
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

import aiohttp

from comfyport.comfyui import gpu
from comfyport.comfyui.client import Client
from comfyport.comfyui.launch import Folders, Installation, command
from comfyport.comfyui.ports import require_free
from comfyport.comfyui.process import Attached, ComfyUI, Health, Supervised, dying_with_us
from comfyport.errors import ComfyportError, ModelError
from comfyport.jobs.perform import Performer
from comfyport.models import lock
from comfyport.models.volume import Volume
from comfyport.nodes import lock as nodes_lock
from comfyport.nodes import startup
from comfyport.nodes.places import Place
from comfyport.settings import Settings
from comfyport.status import Board

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
STOP_SECONDS = 3.0
LOCAL = "127.0.0.1"


class Worker:
    """A worker from `async with` to its end: it downloads, runs ComfyUI and answers jobs."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        """`environ` is what the download and ComfyUI are given; `settings` must have been loaded from it."""
        self.settings = settings
        self.environ = dict(environ)
        self.board = Board(settings.run_folder)
        self.volume = Volume(settings.volume_folder, staging=settings.staging)
        self.url = settings.comfyui_url or f"http://{LOCAL}:{settings.comfyui_port}"
        self.active = 0
        self._stack = AsyncExitStack()
        self._download: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Starts everything side by side. Raises ComfyportError if something cannot even be started."""
        entries = lock.load(self.settings.lock).choose(self.settings.model_groups) if self._downloads else ()
        async with AsyncExitStack() as stack:
            if not self.settings.comfyui_url:
                await self._check_machine()
            self.volume.make_folders()
            self.board.clear()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = Client(self.url, session)
            if self._downloads:
                self.board.write("models", {"state": "starting", "error": None, "files": []})
                self._download = await self._start_step("sync")
                stack.push_async_callback(_stop_step, self._download)
            if self._downloads and self.settings.prefetch != "off":
                stack.push_async_callback(_stop_step, await self._start_step("prefetch"))
            self.comfyui = await stack.enter_async_context(self._comfyui(client, entries))
            self._performer = Performer(
                self.comfyui,
                client,
                self.board,
                self.settings.job_timeout,
                self.settings.comfy_org_api_key.reveal(),
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def run(self, job: Any, observe: Callable[[dict[str, Any]], None] = lambda message: None) -> dict[str, Any]:
        """The answer to a job, whether it went well or not; only cancelling raises."""
        self.active += 1
        started = time.monotonic()
        job_id = job.get("id") if isinstance(job, dict) else None
        try:
            answer = await self._performer.perform(job, observe)
            logger.info("job done id=%s seconds=%.3f", job_id, time.monotonic() - started)
        except ComfyportError as error:
            answer = error.as_answer()
            logger.warning("job failed id=%s code=%s error=%s", job_id, error.code, error.message)
        except Exception as error:
            logger.exception("job failed id=%s", job_id)
            answer = ComfyportError(f"An unexpected error occurred: {error}").as_answer()
        finally:
            self.active -= 1
        return answer

    async def wait_ready(self) -> None:
        """Returns when jobs may be taken: ComfyUI answers, and the models are as near as STARTUP_WAIT asks.

        Raises ComfyportError when that will not be.
        """
        await self.comfyui.wait_ready()
        while not self._models_near(self.board.read("models")):
            await asyncio.sleep(POLL_SECONDS)

    async def wait_failure(self) -> ComfyportError:
        """Returns why this worker cannot go on, as soon as that is clear: no ComfyUI, or no download at all."""
        failures = {
            asyncio.create_task(self.comfyui.wait_failure()),
            asyncio.create_task(self._download_failure()),
        }
        try:
            done, _ = await asyncio.wait(failures, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in failures:
                task.cancel()

    @property
    def _downloads(self) -> bool:
        return self.settings.download_on_startup

    async def _check_machine(self) -> None:
        require_free(LOCAL, self.settings.comfyui_port, setting="COMFYUI_PORT")
        if self.settings.device == "gpu":
            logger.info("GPU: %s", await gpu.check())

    def _comfyui(self, client: Client, entries: tuple[lock.Entry, ...]) -> ComfyUI:
        def notice(health: Health) -> None:
            self.board.write("comfyui", health.as_section())

        if self.settings.comfyui_url:
            return Attached(self.url, ready=client.answers, notice=notice)
        installation = Installation.find(
            self.settings.comfyui_directory,
            python=self.settings.comfyui_python,
            arguments=self.settings.comfyui_arguments,
        )
        base = (self.settings.run_folder / "comfyui").absolute()
        folders = Folders(base, self.volume.models.absolute(), self.volume.custom_nodes.absolute())
        extra_paths = folders.prepare(
            baked_nodes=installation.directory / "custom_nodes",
            model_directories=tuple(entry.directory for entry in entries),
        )
        line = command(installation, folders, extra_paths, port=self.settings.comfyui_port, device=self.settings.device)
        line, environ = self._with_nodes(line, installation)
        return Supervised(line, self.url, environ=environ, ready=client.answers, notice=notice)

    def _with_nodes(self, line: tuple[str, ...], installation: Installation) -> tuple[tuple[str, ...], dict[str, str]]:
        """ComfyUI's command and environment, so that it has the custom nodes of the lock."""
        file = self.settings.nodes_lock_file
        return startup.with_nodes(
            line,
            self.environ,
            nodes_lock.load(file).nodes if file else (),
            volume=Place.on_volume(self.volume.root.absolute()),
            image=Place.in_image(installation.directory),
            python=installation.python,
            constraints=startup.constraints(self.settings.constraints_file),
            may_sync=self.settings.sync_nodes_on_startup,
        )

    async def _start_step(self, name: str) -> asyncio.subprocess.Process:
        """`comfyport models NAME`, beside everything else."""
        return await asyncio.create_subprocess_exec(
            *dying_with_us((sys.executable, "-m", "comfyport", "models", name)),
            stdin=asyncio.subprocess.DEVNULL,
            env=self.environ,
        )

    async def _download_failure(self) -> ComfyportError:
        """Returns when the download failed as a whole; one file that failed is the matter of the jobs that need it."""
        if self._download is None:
            return await asyncio.Future()
        status = await self._download.wait()
        section = self.board.read("models") or {}
        whole = section.get("error") or section.get("state") == "starting"
        if status and (whole or self.settings.startup_wait == "all"):
            reason = (section.get("error") or {}).get("message", f"it ended with exit status {status}")
            return ModelError(f"The models' download failed: {reason}")
        return await asyncio.Future()

    def _models_near(self, section: dict[str, Any] | None) -> bool:
        if section is None or section["state"] in ("done", "failed"):
            return True
        if section["state"] == "starting" or self.settings.startup_wait == "all":
            return False
        left = section["seconds_left"]
        return left is not None and left <= self.settings.startup_wait_seconds


async def _stop_step(step: asyncio.subprocess.Process) -> None:
    if step.returncode is None:
        with suppress(ProcessLookupError):
            step.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await step.wait()
        except TimeoutError:
            step.kill()
            await step.wait()
