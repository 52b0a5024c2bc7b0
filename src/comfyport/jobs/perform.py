"""One job from its request to its answer."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.check import Checker, well_formed
from comfyport.comfyui.client import Client
from comfyport.comfyui.needs import model_files
from comfyport.comfyui.process import ComfyUI
from comfyport.comfyui.results import made_anew
from comfyport.comfyui.storage import Storage
from comfyport.comfyui.values import with_values
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import ComfyUIDied, ComfyUIUnreachable, JobLost, JobTimedOut, NoOutputs, WorkflowRejected
from comfyport.jobs import outputs, waiting
from comfyport.jobs.delivery.deliverer import Deliverer
from comfyport.jobs.events import Observer, shielded, unobserved
from comfyport.jobs.inputs import Inputs
from comfyport.jobs.leftovers import Hold, Leftovers
from comfyport.jobs.reclaim import Reclaimer
from comfyport.jobs.reports import Report
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
    inputs: Inputs
    storage: Storage
    checker: Checker
    reclaimer: Reclaimer
    deliverer: Deliverer
    leftovers: Leftovers
    board: Board
    timeout: float
    api_key: str = ""

    async def perform(self, job: Any, observe: Observer = unobserved, *, room: float = float("inf")) -> dict[str, Any]:
        """The answer to a job that went well. Raises ComfyportError for one that did not, JobTimedOut at its deadline.

        `observe` hears how far it is. Cancelling this takes the job out of ComfyUI. `room` is how many bytes the answer
        may have where it shares the worker's limit with others.
        """
        request = parse(job)
        limit = request.timeout or self.timeout
        deadline, timings = asyncio.timeout(limit), Timings()
        try:
            with self.leftovers.after_job() as hold:
                async with deadline:
                    return await self._steps(request, timings, shielded(observe), hold, room)
        except TimeoutError:
            # A disk behind a network may raise one as well.
            if not deadline.expired():
                raise
            if timings.reached == "wait_comfyui":
                reason = f"it was not ready within the job's {limit:g} s"
                raise ComfyUIUnreachable(self.comfyui.url, reason) from None
            raise JobTimedOut(limit) from None

    async def _steps(
        self, request: Request, timings: Timings, observe: Observer, hold: Hold, room: float
    ) -> dict[str, Any]:
        await self.deliverer.check(request)
        workflow = well_formed(with_values(well_formed(request.workflow), request.values))
        async with AsyncExitStack() as stack:
            with timings.phase("inputs"):
                fetched = await stack.enter_async_context(self.inputs.fetched(request.files))
            with timings.phase("wait_models"):
                await waiting.for_models(model_files(workflow), self.board, observe)
            with timings.phase("wait_comfyui"):
                await self.comfyui.wait_ready()
            with timings.phase("inputs"):
                placed = await stack.enter_async_context(self.inputs.placed(fetched, workflow))
                placed = await self._checked(placed, observe)
            execution = await self._executed(placed, request, observe)
            hold(self._wanted(execution, request))
            if stale := outputs.gone(self._wanted(execution, request), self.storage, execution.cached):
                logger.info("ComfyUI remembers files that are gone; their nodes run again: %s", ", ".join(stale))
                execution = await self._executed(made_anew(placed, stale), request, observe)
                hold(self._wanted(execution, request))
        await self.comfyui.well()
        timings.seconds |= {"queue": execution.queue_seconds, "execute": execution.execute_seconds}
        left_out = self.checker.left_out(execution.node_errors, placed)
        if not execution.outputs:
            raise NoOutputs(execution.prompt_id, left_out)
        with timings.phase("outputs"):
            collected = await outputs.collect(execution.outputs, self._wanted(execution, request), self.storage)
            lists = await self.deliverer.deliver(collected, request, room)
        return answer(lists, (*left_out, *collected.problems), timings)

    async def _checked(self, workflow: Workflow, observe: Observer) -> Workflow:
        """The workflow as ComfyUI can run it. A file that it lacks may be in an archive that is still to come."""
        if waiting.archives_to_come(self.board) and (missing := await self.checker.missing(workflow)):
            await waiting.for_archives(missing, self.board, observe)
        return await self.checker.check(workflow)

    @staticmethod
    def _wanted(execution: Execution, request: Request) -> tuple[Report, ...]:
        return outputs.wanted(execution.outputs, include_temp=request.wish.include_temp)

    async def _executed(self, workflow: Workflow, request: Request, observe: Observer) -> Execution:
        """Runs the workflow; once more if ComfyUI ended before it had begun, since nothing was spent on it then."""
        run = self._run(workflow, request, observe)
        try:
            return await self._unless_it_dies(run.execute())
        except WorkflowRejected as error:
            raise self.checker.explained(error, workflow) from None
        except (ComfyUIDied, ComfyUIUnreachable, JobLost) as error:
            if isinstance(error, ComfyUIUnreachable):
                await self.comfyui.replace("it does not answer")
            if run.started:
                raise
            logger.warning("ComfyUI was gone before the job began, as far as it told; it is sent again: %s", error.code)
        await self.comfyui.wait_ready()
        return await self._unless_it_dies(self._run(workflow, request, observe).execute())

    def _run(self, workflow: Workflow, request: Request, observe: Observer) -> Run:
        api_key = request.comfy_org_api_key or self.api_key
        return Run(workflow, self.client, self.reclaimer, observe=observe, previews=request.previews, api_key=api_key)

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
