"""One job through ComfyUI: queued, waited for, and taken back if it may not go on."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.client import Client, Json, Picture
from comfyport.comfyui.execution import Listener, ended
from comfyport.comfyui.progress import Tracker
from comfyport.comfyui.results import in_order
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import ExecutionFailed, JobCancelled
from comfyport.jobs.events import Observer, Preview
from comfyport.jobs.reclaim import Reclaimer


@dataclass(frozen=True)
class Execution:
    """A prompt that ended well: outputs by node id in the workflow's order, and the nodes that were not run again.

    `node_errors` are ComfyUI's reasons to leave some of the workflow's outputs out. Seconds in ComfyUI's queue and at
    work.
    """

    prompt_id: str
    outputs: dict[str, Json]
    cached: frozenset[str]
    node_errors: Json
    queue_seconds: float
    execute_seconds: float


class Run:
    """One attempt to run a workflow; `observe` hears how far it is, and sees its previews if it asked for them."""

    def __init__(
        self,
        workflow: Workflow,
        client: Client,
        reclaimer: Reclaimer,
        *,
        observe: Observer,
        previews: bool,
        api_key: str,
    ) -> None:
        self._workflow = workflow
        self._client = client
        self._reclaimer = reclaimer
        self._observe = observe
        self._previews = previews
        self._extra_data = {"api_key_comfy_org": api_key} if api_key else {}
        self._tracker = Tracker(workflow)
        self._node = ""

    @property
    def started(self) -> bool:
        """Whether ComfyUI has begun to execute it, as far as it told."""
        return self._tracker.started

    async def execute(self) -> Execution:
        """Runs the workflow to its end.

        Raises WorkflowRejected, ExecutionFailed, JobCancelled, JobLost or ComfyUIUnreachable. Cancelling this takes
        the prompt out of ComfyUI.
        """
        client_id = uuid.uuid4().hex
        async with Listener(self._client, client_id, self._hear) as listener:
            submitted_at = asyncio.get_running_loop().time()
            submitting = asyncio.ensure_future(
                self._client.submit(self._workflow, client_id=client_id, extra_data=self._extra_data)
            )
            try:
                # Shielded: a job that is cancelled while ComfyUI takes its prompt has a prompt to take back.
                queued = await asyncio.shield(submitting)
                entry = await ended(self._client, listener, queued.prompt_id)
            except BaseException:
                # Whatever ends the wait: a prompt that nobody waits for any more would hold up the next job.
                await self._reclaimer.take_back(submitting)
                raise
        total = asyncio.get_running_loop().time() - submitted_at
        messages = _messages(entry)
        _raise_failure(messages)
        execute_seconds = min(total, _seconds_at_work(messages))
        outputs = in_order(entry.get("outputs") or {}, self._workflow)
        waited = total - execute_seconds
        return Execution(queued.prompt_id, outputs, _cached(messages), queued.node_errors, waited, execute_seconds)

    def _hear(self, message: Json | Picture) -> None:
        if isinstance(message, Picture):
            if self._previews:
                self._observe(Preview(self._node, message.media_type, message.content))
        elif progress := self._tracker.take(message):
            self._node = progress.node_id
            self._observe(progress)


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


def _cached(messages: dict[str, Json]) -> frozenset[str]:
    return frozenset(messages.get("execution_cached", {}).get("nodes") or ())


def _seconds_at_work(messages: dict[str, Json]) -> float:
    start: Any = messages.get("execution_start", {}).get("timestamp")
    end: Any = messages.get("execution_success", {}).get("timestamp")
    return max(0.0, (end - start) / 1000) if start and end else 0.0
