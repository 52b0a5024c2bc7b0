"""Puts it together: the models' download, ComfyUI and the jobs make a running worker.

async with Worker(Settings.load()) as worker:
    await worker.wait_ready()
    answer = await worker.run(job)
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import aiohttp

from comfyport import supply, wiring
from comfyport.comfyui import gpu
from comfyport.comfyui.check import Checker
from comfyport.comfyui.client import Client
from comfyport.comfyui.inventory import Inventory
from comfyport.comfyui.ports import require_free
from comfyport.comfyui.process import ComfyUI, Health
from comfyport.comfyui.storage import Storage
from comfyport.early import Early
from comfyport.errors import ComfyportError, ComfyUIError
from comfyport.jobs.delivery.deliverer import Deliverer
from comfyport.jobs.events import Observer, unobserved
from comfyport.jobs.inputs import Inputs
from comfyport.jobs.job_id import job_id, job_name
from comfyport.jobs.leftovers import Leftovers, nodes_cached
from comfyport.jobs.perform import Performer
from comfyport.jobs.reclaim import Reclaimer
from comfyport.models import amendments
from comfyport.models.lock import Entry
from comfyport.recipes.perform import RecipePerformer
from comfyport.settings import Settings
from comfyport.startup import Download, Report, warm_up
from comfyport.status import Board

logger = logging.getLogger(__name__)

LOCAL = "127.0.0.1"
DEATHS_BEFORE_REFRESH = 3


class Worker:
    """A worker from `async with` to its end: it downloads, runs ComfyUI and answers jobs."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] = os.environ, *, early: Early | None = None
    ) -> None:
        """`environ` is what the download and ComfyUI are given; `settings` must have been loaded from it.

        `early` is a ComfyUI that was started before, for a memory snapshot. Raises InvalidRecipe.
        """
        self.settings = settings
        self.environ = dict(environ)
        self.board = Board(settings.run_folder)
        self.volume = supply.volume(settings)
        self.recipes = wiring.recipes(settings)
        self.url = settings.comfyui_url or f"http://{LOCAL}:{settings.comfyui_port}"
        self.active = 0
        self._early = early
        self._started = False
        self._stack = AsyncExitStack()
        wait = None if settings.startup_wait == "all" else settings.startup_wait_seconds
        self._download = Download(self.board, self.environ, wait_seconds=wait)

    async def __aenter__(self) -> Self:
        """Starts everything side by side. Raises ComfyportError if something cannot even be started."""
        entries = self._entries() if self._downloads else ()
        async with AsyncExitStack() as stack:
            if not self.settings.comfyui_url and not self._early:
                await self._check_machine()
            self.volume.make_folders()
            self.board.clear()
            self._report = Report(self.board)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            client = Client(self.url, session)
            if self._downloads:
                stack.push_async_callback(self._download.stop)
                await self._download.start(prefetch=self.settings.prefetch != "off")
            storage = wiring.storage(self.settings, client)
            leftovers = Leftovers(storage, nodes_cached(self.settings.comfyui_arguments))
            leftovers.clear()
            stack.callback(leftovers.clear)
            self.comfyui = await self._enter_comfyui(stack, client, entries)
            self._inventory = await stack.enter_async_context(Inventory(client, self.comfyui))
            self._performer = self._new_performer(client, storage, leftovers, self._inventory)
            await self._performer.inputs.clear()
            stack.push_async_callback(self._performer.reclaimer.close)
            self._starting = asyncio.create_task(self._start_up(), name="start")
            stack.push_async_callback(_ended, self._starting)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Side by side: each has seconds to end in, and a container is killed 10 s after it was asked to.
        await asyncio.gather(self._stack.aclose(), self._download.stop())

    @property
    def ready(self) -> bool:
        """Whether a job would run now: what `wait_ready` waits for has been, and ComfyUI answers."""
        return self._started and self.comfyui.health.state == "ready"

    async def run(self, job: Any, observe: Observer = unobserved) -> dict[str, Any]:
        """The answer to a job, whether it went well or not; only cancelling raises.

        `refresh_worker` in it asks RunPod to replace this worker by a fresh one.
        """
        self.active += 1
        started = time.monotonic()
        named = job_id.set(job_name(job))
        try:
            answer = await RecipePerformer(self.recipes, self._performer).perform(job, observe)
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
        if worn_out := self.worn_out:
            logger.error("%s", worn_out.message)
        refresh = self.settings.refresh_worker or worn_out
        return answer | ({"refresh_worker": True} if refresh else {})

    @property
    def worn_out(self) -> ComfyUIError | None:
        """Why another worker would do better than this one: ComfyUI dies again and again."""
        deaths = self.comfyui.health.deaths_in_a_row
        if deaths < DEATHS_BEFORE_REFRESH:
            return None
        return ComfyUIError(f"ComfyUI has died {deaths} times in a row; this worker asks to be replaced.")

    async def choices(self, nodes: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """What may be chosen for the inputs of these node types, models among it, as ComfyUI lists it now."""
        if self.comfyui.health.state == "ready":
            await self._inventory.renewed()
        return self._inventory.catalogue.choices(nodes)

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

    async def wait_worn_out(self) -> ComfyUIError:
        """Returns why another worker would do better than this one, as soon as that is clear."""
        return await self.comfyui.wait_worn_out(DEATHS_BEFORE_REFRESH)

    async def _start_up(self) -> None:
        await asyncio.gather(
            self._report.phase("comfyui", self.comfyui.wait_ready()),
            self._report.phase("models", self._download.wait_near()),
        )
        if self.settings.warmup_workflow:
            await self._report.phase("warm_up", warm_up(self.settings.warmup_workflow, self._performer.perform))
        self._report.note("ready")
        self._started = True
        logger.info("ready for jobs")

    async def _enter_comfyui(self, stack: AsyncExitStack, client: Client, entries: Sequence[Entry]) -> ComfyUI:
        if self._early:
            stack.push_async_exit(self._early)
            return await self._early.resume(self.settings, self.environ)
        comfyui = wiring.comfyui(
            self.settings, self.environ, entries, self.volume, self.url, ready=client.answers, notice=self._notice
        )
        return await stack.enter_async_context(comfyui)

    def _new_performer(self, client: Client, storage: Storage, leftovers: Leftovers, inventory: Inventory) -> Performer:
        settings = self.settings
        return Performer(
            self.comfyui,
            client,
            Inputs(storage, wiring.comfyui_folder(settings) / "staging", wiring.input_limits(settings)),
            storage,
            Checker(inventory, wiring.hints(settings, self.board)),
            Reclaimer(client, self.comfyui, hang_seconds=settings.cancel_seconds),
            Deliverer(wiring.means_of_delivery(settings)),
            leftovers,
            self.board,
            settings.job_timeout,
            settings.comfy_org_api_key.reveal(),
        )

    def _entries(self) -> tuple[Entry, ...]:
        return amendments.choose(self.settings.lock, self.volume, self.settings.model_groups)

    @property
    def _downloads(self) -> bool:
        return self.settings.download_on_startup

    def _notice(self, health: Health) -> None:
        self.board.write("comfyui", health.as_section())

    async def _check_machine(self) -> None:
        require_free(LOCAL, self.settings.comfyui_port, setting="COMFYUI_PORT")
        if self.settings.device == "gpu":
            logger.info("GPU: %s", await gpu.check())


async def _ended(task: "asyncio.Task[None]") -> None:
    """Ends the start; those who wait for it are told what it failed of."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
