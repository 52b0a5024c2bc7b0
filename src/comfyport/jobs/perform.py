"""One job from its request to its answer."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.client import Client, Json
from comfyport.comfyui.process import ComfyUI
from comfyport.comfyui.workflow import file_names
from comfyport.errors import ComfyUIUnreachable, JobTimedOut, NoOutputs
from comfyport.jobs import inputs, outputs, run, waiting
from comfyport.jobs.request import Request, parse
from comfyport.jobs.result import Timings, answer
from comfyport.status import Board

logger = logging.getLogger(__name__)


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

    async def perform(self, job: Any, observe: Callable[[Json], None] = lambda message: None) -> dict[str, Any]:
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

    async def _steps(self, request: Request, observe: Callable[[Json], None]) -> dict[str, Any]:
        timings = Timings()
        with timings.phase("wait_models"):
            await waiting.for_models(file_names(request.workflow), self.board)
        with timings.phase("wait_comfyui"):
            await self.comfyui.wait_ready()
        with timings.phase("inputs"):
            await inputs.upload(request.images, self.client)
        execution = await run.execute(
            request,
            self.client,
            api_key=request.comfy_org_api_key or self.api_key,
            death=self.comfyui.wait_death,
            observe=observe,
        )
        timings.seconds |= {"queue": execution.queue_seconds, "execute": execution.execute_seconds}
        if not execution.outputs:
            raise NoOutputs(execution.prompt_id)
        with timings.phase("outputs"):
            collected = await outputs.collect(execution.outputs, self.client)
        return answer(collected, timings)
