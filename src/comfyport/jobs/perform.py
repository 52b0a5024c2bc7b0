"""One job from its request to its answer."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.client import Client
from comfyport.comfyui.execution import MessageObserver
from comfyport.comfyui.process import ComfyUI
from comfyport.comfyui.workflow import file_names
from comfyport.errors import ComfyUIUnreachable, JobTimedOut, NoOutputs
from comfyport.jobs import inputs, outputs, run, waiting
from comfyport.jobs.request import Request, parse
from comfyport.jobs.result import Timings, answer
from comfyport.status import Board

# A connection that breaks may be the first sign of a death that is known a moment later.
DEATH_SECONDS = 1.0


@dataclass(frozen=True)
class Performer:
    """Performs jobs with the ComfyUI and the notice board of one worker.

    `timeout` in seconds and `api_key` hold for jobs that bring none of their own.
    """

    comfyui: ComfyUI
    client: Client
    board: Board
    timeout: float
    api_key: str = ""

    async def perform(self, job: Any, observe: MessageObserver = lambda message: None) -> dict[str, Any]:
        """The answer to a job that went well. Raises ComfyportError for one that did not, JobTimedOut at its deadline.

        `observe` hears ComfyUI's messages on the way. Cancelling this takes the job out of ComfyUI.
        """
        request = parse(job)
        limit = request.timeout or self.timeout
        try:
            async with asyncio.timeout(limit):
                return await self._steps(request, observe)
        except TimeoutError:
            if self.comfyui.health.state != "ready":
                reason = f"it was not ready within the job's {limit:g} s"
                raise ComfyUIUnreachable(self.comfyui.url, reason) from None
            raise JobTimedOut(limit) from None

    async def _steps(self, request: Request, observe: MessageObserver) -> dict[str, Any]:
        timings = Timings()
        with timings.phase("wait_models"):
            await waiting.for_models(file_names(request.workflow), self.board)
        with timings.phase("wait_comfyui"):
            await self.comfyui.wait_ready()
        return await self._unless_it_dies(self._with_comfyui(request, timings, observe))

    async def _with_comfyui(self, request: Request, timings: Timings, observe: MessageObserver) -> dict[str, Any]:
        with timings.phase("inputs"):
            await inputs.upload(request.images, self.client)
        api_key = request.comfy_org_api_key or self.api_key
        execution = await run.execute(request, self.client, api_key=api_key, observe=observe)
        timings.seconds |= {"queue": execution.queue_seconds, "execute": execution.execute_seconds}
        if not execution.outputs:
            raise NoOutputs(execution.prompt_id)
        with timings.phase("outputs"):
            collected = await outputs.collect(execution.outputs, self.client)
        return answer(collected, timings)

    async def _unless_it_dies(self, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
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
