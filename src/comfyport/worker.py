"""Puts it together: the models' download, ComfyUI and the jobs make a running worker.

async with Worker(Settings.load()) as worker:
    await worker.wait_ready()
    answer = await worker.run(job)
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from comfyport.comfyui import gpu
from comfyport.comfyui.check import Checker
from comfyport.comfyui.client import Client
from comfyport.comfyui.inventory import Inventory
from comfyport.comfyui.launch import Folders, Installation, command
from comfyport.comfyui.ports import require_free
from comfyport.comfyui.process import Attached, ComfyUI, Health, Supervised
from comfyport.comfyui.storage import LocalStorage, RemoteStorage, Storage
from comfyport.errors import ComfyportError
from comfyport.jobs.delivery.deliverer import Deliverer, Means
from comfyport.jobs.delivery.setup import account_set_up
from comfyport.jobs.events import Observer, unobserved
from comfyport.jobs.hints import Hints
from comfyport.jobs.inputs import Inputs
from comfyport.jobs.leftovers import Leftovers, nodes_cached
from comfyport.jobs.naming import job_id, job_name
from comfyport.jobs.perform import Performer
from comfyport.jobs.reclaim import Reclaimer
from comfyport.jobs.staging import Limits
from comfyport.models import lock
from comfyport.models.volume import Volume
from comfyport.nodes import lock as nodes_lock
from comfyport.nodes.places import Place
from comfyport.nodes.startup import constraints, with_nodes
from comfyport.settings import Settings
from comfyport.startup import Download, Report, warm_up
from comfyport.status import Board

logger = logging.getLogger(__name__)

LOCAL = "127.0.0.1"
DEATHS_BEFORE_REFRESH = 3


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
        wait = None if settings.startup_wait == "all" else settings.startup_wait_seconds
        self._download = Download(self.board, self.environ, wait_seconds=wait)

    async def __aenter__(self) -> Self:
        """Starts everything side by side. Raises ComfyportError if something cannot even be started."""
        entries = lock.load(self.settings.lock).choose(self.settings.model_groups) if self._downloads else ()
        async with AsyncExitStack() as stack:
            if not self.settings.comfyui_url:
                await self._check_machine()
            self.volume.make_folders()
            self.board.clear()
            self._report = Report(self.board)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = Client(self.url, session)
            if self._downloads:
                stack.push_async_callback(self._download.stop)
                await self._download.start(prefetch=self.settings.prefetch != "off")
            storage = self._storage(client)
            leftovers = Leftovers(storage, nodes_cached(self.settings.comfyui_arguments))
            leftovers.clear()
            stack.callback(leftovers.clear)
            self.comfyui = await stack.enter_async_context(self._comfyui(client, entries))
            inventory = await stack.enter_async_context(Inventory(client, self.comfyui))
            self._performer = self._new_performer(client, storage, leftovers, inventory)
            await self._performer.inputs.clear()
            stack.push_async_callback(self._performer.reclaimer.close)
            self._starting = asyncio.create_task(self._start_up(), name="start")
            stack.push_async_callback(_ended, self._starting)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def run(self, job: Any, observe: Observer = unobserved) -> dict[str, Any]:
        """The answer to a job, whether it went well or not; only cancelling raises.

        `refresh_worker` in it asks RunPod to replace this worker by a fresh one.
        """
        self.active += 1
        started = time.monotonic()
        named = job_id.set(job_name(job))
        try:
            answer = await self._performer.perform(job, observe)
            logger.info("job done seconds=%.3f", time.monotonic() - started)
        except ComfyportError as error:
            answer = error.as_answer()
            logger.warning("job failed code=%s error=%s", error.code, error.message)
        except Exception as error:
            logger.exception("job failed")
            answer = ComfyportError(f"An unexpected error occurred: {error}").as_answer()
        finally:
            self.active -= 1
            job_id.reset(named)
        return answer | ({"refresh_worker": True} if self._worn_out() else {})

    async def wait_ready(self) -> None:
        """Returns when jobs may be taken: ComfyUI answers, is warm, and the models are as near as STARTUP_WAIT asks.

        Raises ComfyportError when that will not be.
        """
        await asyncio.shield(self._starting)
        await self.comfyui.wait_ready()

    async def wait_failure(self) -> ComfyportError:
        """Returns why this worker cannot go on, as soon as that is clear: no ComfyUI, or no download at all."""
        failures = {
            asyncio.create_task(self.comfyui.wait_failure()),
            asyncio.create_task(self._download.wait_failure()),
        }
        try:
            done, _ = await asyncio.wait(failures, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in failures:
                task.cancel()

    async def _start_up(self) -> None:
        await asyncio.gather(
            self._report.phase("comfyui", self.comfyui.wait_ready()),
            self._report.phase("models", self._download.wait_near()),
        )
        if self.settings.warmup_workflow:
            await self._report.phase("warm_up", warm_up(self.settings.warmup_workflow, self._performer.perform))
        self._report.note("ready")

    def _worn_out(self) -> bool:
        """Whether another worker would do better: ComfyUI dies again and again, or each job wants a fresh one."""
        deaths = self.comfyui.health.deaths_in_a_row
        if deaths >= DEATHS_BEFORE_REFRESH:
            logger.error("ComfyUI has died %d times in a row; this worker asks to be replaced", deaths)
        return self.settings.refresh_worker or deaths >= DEATHS_BEFORE_REFRESH

    def _new_performer(self, client: Client, storage: Storage, leftovers: Leftovers, inventory: Inventory) -> Performer:
        return Performer(
            self.comfyui,
            client,
            Inputs(storage, self._folder / "staging", self._limits),
            storage,
            Checker(inventory, self._hints()),
            Reclaimer(client, self.comfyui, hang_seconds=self.settings.cancel_seconds),
            Deliverer(self._means()),
            leftovers,
            self.board,
            self.settings.job_timeout,
            self.settings.comfy_org_api_key.reveal(),
        )

    def _hints(self) -> Hints:
        load = partial(lock.load, self.settings.lock)
        return Hints(load, self.settings.model_groups, self.board, downloads=self._downloads)

    def _means(self) -> Means:
        settings = self.settings
        bucket, problem = account_set_up(
            settings.bucket_endpoint,
            name=settings.bucket_name,
            region=settings.bucket_region,
            prefix=settings.bucket_prefix,
            access_key_id=settings.bucket_access_key_id.reveal(),
            secret_access_key=settings.bucket_secret_access_key.reveal(),
            public_url=settings.bucket_public_url,
            link_seconds=settings.bucket_link_seconds,
        )
        if problem:
            logger.error("%s", problem)
        return Means(
            answer_limit=settings.answer_limit,
            bucket=bucket,
            bucket_problem=problem,
            volume=settings.lasting_volume,
            default=settings.output_delivery or ("s3" if settings.bucket_endpoint else "auto"),
            private_urls=settings.allow_private_urls,
        )

    def _storage(self, client: Client) -> Storage:
        if self.settings.comfyui_url:
            return RemoteStorage(client, self._folder / "temp")
        return LocalStorage(self._folder)

    @property
    def _limits(self) -> Limits:
        return Limits(
            files=self.settings.input_files,
            file_bytes=self.settings.input_file_mb * 10**6,
            total_bytes=self.settings.input_mb * 10**6,
            pixels=self.settings.input_megapixels * 10**6,
            fetch_seconds=self.settings.input_seconds,
            private_urls=self.settings.allow_private_urls,
        )

    @property
    def _folder(self) -> Path:
        """ComfyUI's input, output and temporary files."""
        return (self.settings.run_folder / "comfyui").absolute()

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
        folders = Folders(self._folder, self.volume.models.absolute(), self.volume.custom_nodes.absolute())
        extra_paths = folders.prepare(
            baked_nodes=installation.directory / "custom_nodes",
            model_directories=tuple(entry.directory for entry in entries),
        )
        line = command(installation, folders, extra_paths, port=self.settings.comfyui_port, device=self.settings.device)
        line, environ = self._with_nodes(line, self._environ_of_comfyui(entries), installation)
        return Supervised(line, self.url, environ=environ, ready=client.answers, notice=notice)

    def _with_nodes(
        self, line: tuple[str, ...], environ: dict[str, str], installation: Installation
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """ComfyUI's command and environment, so that it has the custom nodes of the lock."""
        file = self.settings.nodes_lock_file
        return with_nodes(
            line,
            environ,
            nodes_lock.load(file).nodes if file else (),
            volume=Place.on_volume(self.volume.root.absolute()),
            image=Place.in_image(installation.directory),
            python=installation.python,
            constraints=constraints(self.settings.constraints_file),
            may_sync=self.settings.sync_nodes_on_startup,
        )

    def _environ_of_comfyui(self, entries: tuple[lock.Entry, ...]) -> dict[str, str]:
        """The environment without its secrets: custom nodes are other people's programs."""
        named = {getattr(source, "auth", None) or "" for entry in entries for source in entry.sources}
        tokens = {name.removeprefix("env:") for name in named}
        kept_back = (Settings.secret_names() | tokens) - set(self.settings.comfyui_secrets)
        return {name: value for name, value in self.environ.items() if name not in kept_back}


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, ComfyportError):
        await task
