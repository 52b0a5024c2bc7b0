"""What is wrong with a workflow, in the terms of ComfyUI's answer to a prompt that it refuses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# whole: ComfyUI refuses, or stumbles over, the workflow whatever else it holds.
# output: ComfyUI leaves out the outputs that need the node, and refuses a workflow that has no others.
# run: ComfyUI finds nothing, and fails when it comes to the node.
# unsure: the node may judge this itself, and otherwise than its declaration says.
Weight = Literal["whole", "output", "run", "unsure"]

# A value that was sent in is told back so long.
LONGEST_VALUE = 200


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a node, or with the workflow (`node_id` is then empty).

    `type`, `message`, `details` and `extra_info` are what ComfyUI's validation says of it, or would say.
    """

    node_id: str
    class_type: str
    weight: Weight
    type: str
    message: str
    details: str = ""
    extra_info: dict[str, Any] = field(default_factory=dict)

    def as_error(self) -> dict[str, Any]:
        """The problem as ComfyUI has it among a node's `errors`."""
        return {"type": self.type, "message": self.message, "details": self.details, "extra_info": self.extra_info}


def node_errors(problems: Iterable[Problem], outputs_of: Mapping[str, list[str]]) -> dict[str, Any]:
    """ComfyUI's `node_errors` for the problems that a node has; `outputs_of` are the outputs that need a node."""
    told: dict[str, Any] = {}
    for problem in problems:
        if problem.node_id:
            entry = told.setdefault(
                problem.node_id,
                {
                    "errors": [],
                    "dependent_outputs": outputs_of.get(problem.node_id, []),
                    "class_type": problem.class_type,
                },
            )
            entry["errors"].append(problem.as_error())
    return told


def completed(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """ComfyUI's `node_errors` with those of `ours` that it did not see.

    What its validation broke off with at a node that we have an opinion of is left out: it says nothing to anybody.
    """
    whole = {node_id: dict(entry) for node_id, entry in theirs.items() if isinstance(entry, dict)}
    for node_id, entry in ours.items():
        listed = whole.setdefault(node_id, {**entry, "errors": []})
        known = [error for error in listed.get("errors") or () if isinstance(error, dict)]
        kept = [error for error in known if not str(error.get("type")).startswith("exception_during_")]
        named = {_about(error) for error in kept}
        listed["errors"] = [*kept, *(error for error in entry["errors"] if _about(error) not in named)]
    return whole


def _about(error: Mapping[str, Any]) -> str:
    """The input that an error is about, or what else it is about."""
    extra = error.get("extra_info")
    name = extra.get("input_name") if isinstance(extra, dict) else None
    return str(name or error.get("type"))


def shown(value: Any) -> Any:
    """A value as it may be told back: itself if it is small and plain, else the beginning of its text."""
    if value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < 1 << 64):
        return value
    if isinstance(value, float):
        return str(value)
    if isinstance(value, str):
        return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}…"
    if isinstance(value, list) and len(value) <= 4 and all(isinstance(part, str | int | float) for part in value):
        return [shown(part) for part in value]
    return f"({type(value).__name__})"
