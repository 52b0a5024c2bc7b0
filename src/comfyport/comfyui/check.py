"""Looks at a workflow before it is queued: what ComfyUI would refuse, and what it would only stumble over later."""

import difflib
from collections.abc import Callable
from typing import Any

from comfyport.comfyui.examine import Findings, check
from comfyport.comfyui.form import malformed
from comfyport.comfyui.inventory import Inventory
from comfyport.comfyui.needs import ModelFile, folder_of, is_model_file, plain
from comfyport.comfyui.problems import Weight, completed, node_errors
from comfyport.comfyui.rejection import sentences, told
from comfyport.comfyui.spelling import respelled
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import WorkflowRejected

# What is longer is compared with nothing.
LONGEST_NAME = 200
# So many classes that the catalogue lacks are asked for one by one.
MOST_ASKED = 20
MOST_REMEMBERED = 10_000


class Checker:
    """Checks workflows against the `inventory` of a ComfyUI.

    It is renewed before anything is refused, since files and custom nodes appear while ComfyUI runs. `hint` says of a
    missing model's file what would bring it, or nothing.
    """

    def __init__(self, inventory: Inventory, hint: Callable[[ModelFile], str]) -> None:
        self._inventory = inventory
        self._hint = hint
        self._absent: set[tuple[str, str, str]] = set()

    async def check(self, workflow: Workflow) -> Workflow:
        """The workflow with its files named as ComfyUI lists them. Raises WorkflowRejected with all that is wrong."""
        if not await self._inventory.known():
            return well_formed(workflow)
        workflow, findings = self._examined(workflow)
        if (findings.refused or self._news(findings)) and await self._inventory.renewed():
            workflow, findings = self._examined(workflow)
        if findings.unknown:
            opaque = [name for name in sorted(findings.unknown)[:MOST_ASKED] if await self._inventory.has_opaque(name)]
            workflow, findings = self._examined(workflow, frozenset(opaque))
        if findings.refused:
            raise told(findings.as_refusal(), workflow, self._advice)
        return workflow

    async def missing(self, workflow: Workflow) -> frozenset[ModelFile]:
        """The model files that the workflow names and ComfyUI does not find; asks it now."""
        if not await self._inventory.renewed():
            return frozenset()
        _, findings = self._examined(workflow)
        return frozenset(ModelFile(folder_of(*place), plain(name)) for *place, name in findings.missing)

    def explained(self, error: WorkflowRejected, workflow: Workflow) -> WorkflowRejected:
        """ComfyUI's own refusal, with what it did not see, and with our advice."""
        raw, theirs = error.details["raw"], error.details["node_errors"]
        if not isinstance(raw, dict) or not isinstance(theirs, dict):
            return error
        whole = self._completed(theirs, workflow, {"output", "run"})
        return told({**raw, "node_errors": whole}, workflow, self._advice)

    def left_out(self, theirs: dict[str, Any], workflow: Workflow) -> tuple[str, ...]:
        """Why ComfyUI ran a workflow without some of its outputs, by the `node_errors` of its answer, in sentences."""
        if not theirs:
            return ()
        lines = sentences(self._completed(theirs, workflow, {"output"}), workflow, self._advice)
        return tuple(f"Workflow validation failed for a part, which was left out: {line}" for line in lines)

    def _completed(self, theirs: dict[str, Any], workflow: Workflow, weights: set[Weight]) -> dict[str, Any]:
        _, findings = self._examined(workflow)
        ours = (problem for problem in findings.problems if problem.weight in weights)
        return completed(theirs, node_errors(ours, findings.outputs_of))

    def _examined(self, workflow: Workflow, opaque: frozenset[str] = frozenset()) -> tuple[Workflow, Findings]:
        spelled = respelled(workflow, self._inventory.catalogue)
        return spelled, check(spelled, self._inventory.catalogue, opaque)

    def _news(self, findings: Findings) -> bool:
        """Whether files are missing of which nobody has noticed before: a node may well allow what it does not list."""
        news = findings.missing - self._absent
        if len(self._absent) > MOST_REMEMBERED:
            self._absent.clear()
        self._absent |= news
        return bool(news)

    def _advice(self, class_type: str, problem: dict[str, Any]) -> str:
        """What to do about a value that is not among its choices."""
        extra = problem.get("extra_info")
        if problem.get("type") != "value_not_in_list" or not isinstance(extra, dict):
            return ""
        name, value = extra.get("input_name"), extra.get("received_value")
        catalogue = self._inventory.catalogue
        declared = catalogue[class_type].inputs.get(str(name)) if class_type in catalogue else None
        texts = [choice for choice in (declared and declared.choices) or () if isinstance(choice, str)]
        near = difflib.get_close_matches(str(value)[:LONGEST_NAME], texts, n=3)
        advice = [f"Nearest: {', '.join(near)}."] if near else []
        if isinstance(value, str) and is_model_file(value):
            advice.append(self._hint(ModelFile(folder_of(class_type, str(name)), plain(value))))
        return " ".join(part for part in advice if part)


def well_formed(workflow: Workflow) -> Workflow:
    """The workflow, if ComfyUI, and all that looks at workflows here, can read it at all. Raises WorkflowRejected."""
    problems = tuple(malformed(workflow))
    if problems:
        raise told(Findings(problems).as_refusal(), workflow)
    return workflow
