"""One job from its request to its answer."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.check import Checker
from comfyport.comfyui.client import Client
from comfyport.comfyui.process import ComfyUI
from comfyport.comfyui.storage import Storage
from comfyport.comfyui.workflow import Workflow, file_names, with_values
from comfyport.errors import ComfyUIDied, ComfyUIUnreachable, JobLost, JobTimedOut, NoOutputs
from comfyport.jobs import inputs, outputs, waiting
from comfyport.jobs.delivery import Deliverer
from comfyport.jobs.events import Observer, shielded, unobserved
from comfyport.jobs.leftovers import Leftovers
from comfyport.jobs.reclaim import Reclaimer
from comfyport.jobs.request import Request, parse
from comfyport.jobs.result import Timings, answer
from comfyport.jobs.run import Execution, Run
from comfyport.status import Board

logger = logging.getLogger(__name__)

# A connection that breaks may be the first sign of a death that is known a moment later.
DEATH_SECONDS = 1.0


@dataclass(frozen=True)
class Performer:
    """Performs jobs with the ComfyUI and the notice board of one worker.

    `timeout` in seconds and `api_key` hold for jobs that bring none of their own.
    """

    comfyui: ComfyUI
    client: Client
    storage: Storage
    checker: Checker
    reclaimer: Reclaimer
    deliverer: Deliverer
    leftovers: Leftovers
    board: Board
    timeout: float
    api_key: str = ""

    async def perform(self, job: Any, observe: Observer = unobserved) -> dict[str, Any]:
        """The answer to a job that went well. Raises ComfyportError for one that did not, JobTimedOut at its deadline.

        `observe` hears how far it is. Cancelling this takes the job out of ComfyUI.
        """
        request = parse(job)
        limit = request.timeout or self.timeout
        try:
            async with asyncio.timeout(limit):
                return await self._steps(request, shielded(observe))
        except TimeoutError:
            if self.comfyui.health.state != "ready":
                reason = f"it was not ready within the job's {limit:g} s"
                raise ComfyUIUnreachable(self.comfyui.url, reason) from None
            raise JobTimedOut(limit) from None

    async def _steps(self, request: Request, observe: Observer) -> dict[str, Any]:
        self.deliverer.check(request)
        workflow = with_values(request.workflow, request.values)
        timings = Timings()
        with timings.phase("wait_models"):
            await waiting.for_models(file_names(workflow), self.board, observe)
        with timings.phase("wait_comfyui"):
            await self.comfyui.wait_ready()
        async with AsyncExitStack() as stack:
            with timings.phase("inputs"):
                placing = inputs.placed(request.files, workflow, self.storage)
                placed = await stack.enter_async_context(placing)
                await self.checker.check(placed)
            execution = await self._executed(placed, request, observe)
        timings.seconds |= {"queue": execution.queue_seconds, "execute": execution.execute_seconds}
        if not execution.outputs:
            raise NoOutputs(execution.prompt_id)
        with timings.phase("outputs"):
            lists = await self._delivered(execution, request)
        return answer(lists, timings)

    async def _executed(self, workflow: Workflow, request: Request, observe: Observer) -> Execution:
        """Runs the workflow; once more if ComfyUI ended before it had begun, since nothing was spent on it then."""
        run = self._run(workflow, request, observe)
        try:
            return await self._unless_it_dies(run.execute())
        except (ComfyUIDied, ComfyUIUnreachable, JobLost) as error:
            if run.started:
                raise
            logger.warning("ComfyUI ended before the job began; it is sent again: %s", error.code)
        await self.comfyui.wait_ready()
        return await self._unless_it_dies(self._run(workflow, request, observe).execute())

    def _run(self, workflow: Workflow, request: Request, observe: Observer) -> Run:
        api_key = request.comfy_org_api_key or self.api_key
        return Run(workflow, self.client, self.reclaimer, observe=observe, previews=request.previews, api_key=api_key)

    async def _delivered(self, execution: Execution, request: Request) -> dict[str, Any]:
        collected = await outputs.collect(execution.outputs, self.storage, include_temp=request.wish.include_temp)
        try:
            return await self.deliverer.deliver(collected, request)
        finally:
            await self.leftovers.delivered(collected)

    async def _unless_it_dies(self, work: Coroutine[Any, Any, Execution]) -> Execution:
        """The result of `work`; should ComfyUI die first, what it died of."""
        working = asyncio.create_task(work)
        dying = asyncio.create_task(self.comfyui.wait_death())
        try:
            await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and isinstance(working.exception(), ComfyUIUnreachable):
                await asyncio.wait({dying}, timeout=DEATH_SECONDS)
            if dying.done() and (not working.done() or working.exception()):
                raise dying.result()
            return await working
        finally:
            for task in (working, dying):
                task.cancel()
            await asyncio.gather(working, dying, return_exceptions=True)
