"""Looks at a workflow before it is queued: what ComfyUI would refuse, and what it would only stumble over later."""

import asyncio
import difflib
import logging
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from comfyport.comfyui.catalogue import Catalogue
from comfyport.comfyui.client import Client
from comfyport.comfyui.examine import Findings, check
from comfyport.comfyui.form import malformed
from comfyport.comfyui.needs import ModelFile, folder_of, plain
from comfyport.comfyui.process import ComfyUI, Health
from comfyport.comfyui.rejection import told
from comfyport.comfyui.spelling import respelled
from comfyport.comfyui.workflow import Workflow, is_model_file
from comfyport.errors import ComfyUIError, ComfyUIRefused, ComfyUIUnreachable, WorkflowRejected

logger = logging.getLogger(__name__)

# What is longer is compared with nothing.
LONGEST_NAME = 200
# So many classes that the catalogue lacks are asked for one by one.
MOST_ASKED = 20


class Checker:
    """Checks workflows against what a ComfyUI can run, while it is entered.

    What it can run is asked for in the background as soon as it is ready, and again before a workflow is refused:
    files and custom nodes appear while it runs. `hint` says of a missing model's file what would bring it, or nothing.
    """

    def __init__(self, client: Client, comfyui: ComfyUI, hint: Callable[[ModelFile], str]) -> None:
        self._client = client
        self._comfyui = comfyui
        self._hint = hint
        self._catalogue = Catalogue({})
        self._absent: set[tuple[str, str, str]] = set()
        self._asked_in: Health | None = None
        self._asked_at = 0.0
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._ask_early(), name="object-info")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def check(self, workflow: Workflow) -> Workflow:
        """The workflow with its files named as ComfyUI lists them. Raises WorkflowRejected with all that is wrong."""
        problems = tuple(malformed(workflow))
        if problems:
            raise told(Findings(problems).as_refusal(), workflow)
        if not await self._known():
            return workflow
        workflow, findings = self._examined(workflow)
        if (findings.refused or self._news(findings)) and await self._ask():
            workflow, findings = self._examined(workflow)
        if findings.unknown:
            opaque = [name for name in sorted(findings.unknown)[:MOST_ASKED] if await self._is_opaque(name)]
            workflow, findings = self._examined(workflow, frozenset(opaque))
        if findings.refused:
            raise told(findings.as_refusal(), workflow, self._advice)
        return workflow

    async def missing(self, workflow: Workflow) -> frozenset[ModelFile]:
        """The model files that the workflow names and ComfyUI does not find; asks it now."""
        if any(malformed(workflow)) or not await self._ask():
            return frozenset()
        _, findings = self._examined(workflow)
        return frozenset(ModelFile(folder_of(*place), plain(name)) for *place, name in findings.missing)

    def explained(self, error: WorkflowRejected, workflow: Workflow) -> WorkflowRejected:
        """ComfyUI's own refusal, with the advice that we can add."""
        raw = error.details["raw"]
        return told(raw, workflow, self._advice) if isinstance(raw, dict) else error

    def _examined(self, workflow: Workflow, opaque: frozenset[str] = frozenset()) -> tuple[Workflow, Findings]:
        spelled = respelled(workflow, self._catalogue)
        return spelled, check(spelled, self._catalogue, opaque)

    def _news(self, findings: Findings) -> bool:
        """Whether files are missing that were not missing when ComfyUI was last asked."""
        news = findings.missing - self._absent
        self._absent |= news
        return bool(news)

    async def _ask_early(self) -> None:
        with suppress(ComfyUIError):
            while True:
                await self._comfyui.wait_ready()
                await self._known()
                while self._comfyui.health.state == "ready":
                    await self._comfyui.wait_death()

    async def _known(self) -> bool:
        """Whether it is known what the ComfyUI that runs now can run; asks it if nobody has."""
        return self._asked_in is self._comfyui.health or await self._ask()

    async def _ask(self) -> bool:
        """Asks ComfyUI what it can run; False if it does not tell."""
        begun = asyncio.get_running_loop().time()
        async with self._asking:
            # Who waited here for somebody else's answer has the use of it.
            if self._asked_in is self._comfyui.health and self._asked_at >= begun:
                return True
            health = self._comfyui.health
            self._asked_at = asyncio.get_running_loop().time()
            try:
                self._catalogue = Catalogue(await self._client.object_info())
            except (ComfyUIRefused, ComfyUIUnreachable) as error:
                logger.warning("ComfyUI does not tell what it can run, so that it alone judges workflows: %s", error)
                return False
            self._asked_in = health
            self._absent.clear()
        return True

    async def _is_opaque(self, class_type: str) -> bool:
        """Whether ComfyUI has a node of which it cannot tell anything: the node fails to say what its inputs are."""
        try:
            return bool(await self._client.object_info(class_type))
        except ComfyUIRefused as error:
            return int(error.details["status"]) >= 500
        except ComfyUIUnreachable:
            return True

    def _advice(self, class_type: str, problem: dict[str, Any]) -> str:
        """What to do about a value that is not among its choices."""
        extra = problem.get("extra_info")
        if problem.get("type") != "value_not_in_list" or not isinstance(extra, dict):
            return ""
        name, value = extra.get("input_name"), extra.get("received_value")
        declared = self._catalogue[class_type].inputs.get(str(name)) if class_type in self._catalogue else None
        texts = [choice for choice in (declared and declared.choices) or () if isinstance(choice, str)]
        near = difflib.get_close_matches(str(value)[:LONGEST_NAME], texts, n=3)
        advice = [f"Nearest: {', '.join(near)}."] if near else []
        if isinstance(value, str) and is_model_file(value):
            advice.append(self._hint(ModelFile(folder_of(class_type, str(name)), plain(value))))
        return " ".join(part for part in advice if part)
