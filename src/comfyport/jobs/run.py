"""One job through ComfyUI: queued, waited for, and taken back if it may not go on."""

import asyncio
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.client import Client, Json
from comfyport.comfyui.execution import Listener, MessageObserver, ended
from comfyport.errors import ComfyportError, ExecutionFailed, JobCancelled
from comfyport.jobs.request import Request

logger = logging.getLogger(__name__)

# ComfyUI looks at its interrupt flag between steps; this long we wait for its answer, not for its obedience.
CANCEL_SECONDS = 2.0


@dataclass(frozen=True)
class Execution:
    """A prompt that ended well: outputs by node id, and seconds in ComfyUI's queue and at work."""

    prompt_id: str
    outputs: dict[str, Json]
    queue_seconds: float
    execute_seconds: float


async def execute(request: Request, client: Client, *, api_key: str, observe: MessageObserver) -> Execution:
    """Runs the workflow; `observe` hears ComfyUI's messages.

    Raises WorkflowRejected, ExecutionFailed, JobCancelled, JobLost or ComfyUIUnreachable. Cancelling this takes the
    prompt out of ComfyUI.
    """
    client_id = uuid.uuid4().hex
    extra_data = {"api_key_comfy_org": api_key} if api_key else {}
    async with Listener(client, client_id, observe) as listener:
        submitted_at = asyncio.get_running_loop().time()
        submitting = asyncio.ensure_future(client.submit(request.workflow, client_id=client_id, extra_data=extra_data))
        try:
            # Shielded: a job that is cancelled while ComfyUI takes its prompt has a prompt to take back.
            prompt_id = await asyncio.shield(submitting)
            entry = await ended(client, listener, prompt_id)
        except asyncio.CancelledError:
            await _take_back(client, submitting)
            raise
    total = asyncio.get_running_loop().time() - submitted_at
    messages = _messages(entry)
    _raise_failure(messages)
    execute_seconds = min(total, _seconds_at_work(messages))
    return Execution(prompt_id, entry.get("outputs", {}), total - execute_seconds, execute_seconds)


async def _take_back(client: Client, submitting: "asyncio.Future[str]") -> None:
    with suppress(ComfyportError, TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS):
            prompt_id = await submitting
            logger.info("taking the prompt back prompt_id=%s", prompt_id)
            await client.cancel(prompt_id)


def _messages(entry: Json) -> dict[str, Json]:
    """The messages of a history entry by kind: [["execution_start", {…}], …] as ComfyUI keeps them."""
    return dict((entry.get("status") or {}).get("messages", ()))


def _raise_failure(messages: dict[str, Json]) -> None:
    if failure := messages.get("execution_error"):
        raise ExecutionFailed(
            node_type=str(failure.get("node_type")),
            node_id=str(failure.get("node_id")),
            message=str(failure.get("exception_message")),
            kind=str(failure.get("exception_type")),
            traceback=[str(line) for line in failure.get("traceback") or ()],
        )
    if interrupted := messages.get("execution_interrupted"):
        raise JobCancelled("The workflow was interrupted in ComfyUI.", node_id=interrupted.get("node_id"))


def _seconds_at_work(messages: dict[str, Json]) -> float:
    start: Any = messages.get("execution_start", {}).get("timestamp")
    end: Any = messages.get("execution_success", {}).get("timestamp")
    return max(0.0, (end - start) / 1000) if start and end else 0.0
