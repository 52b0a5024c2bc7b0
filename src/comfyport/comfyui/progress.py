"""Adds ComfyUI's messages about one prompt up to how far it is (its execution.py and progress.py, v0.3.64)."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from comfyport.comfyui.client import Json
from comfyport.comfyui.workflow import Workflow


@dataclass(frozen=True)
class Progress:
    """The node at work, its step of `steps` (0 of 0 if it does not tell), and nodes done of all that are executed."""

    node_id: str
    class_type: str
    title: str
    step: int
    steps: int
    nodes_done: int
    nodes: int

    @property
    def percent(self) -> float:
        """How much of the workflow is done, each node counting the same."""
        share = self.step / self.steps if self.steps else 0.0
        return round(min(100.0, 100 * (self.nodes_done + share) / max(1, self.nodes)), 1)

    def as_json(self) -> dict[str, Any]:
        """The progress as the doors send it."""
        return {"type": "progress", **asdict(self), "percent": self.percent}


class Tracker:
    """Follows one prompt of `workflow`."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._done: set[str] = set()
        self._at = ""
        self.started = False

    def take(self, message: Json) -> Progress | None:
        """Takes a message in; what it says of the progress, if anything."""
        data = message.get("data") or {}
        match message.get("type"):
            case "execution_start":
                self.started = True
            case "execution_cached":
                self._done.update(str(node) for node in data.get("nodes") or ())
            case "executing" if data.get("node") is not None:
                self._move_to(str(data["node"]))
                return self._progress(0, 0)
            case "progress":
                if data.get("node") is not None:
                    self._move_to(str(data["node"]))
                return self._progress(_count(data.get("value")), _count(data.get("max")))
        return None

    def _move_to(self, node: str) -> None:
        # A node that a loop or an expansion makes at run time is told as `<parent>.<number>`.
        node = node if node in self._workflow else node.partition(".")[0]
        if self._at and node != self._at:
            self._done.add(self._at)
        self._at = node
        self._done.discard(node)

    def _progress(self, step: int, steps: int) -> Progress:
        node = self._workflow.get(self._at) or {}
        class_type = str(node.get("class_type", ""))
        meta = node.get("_meta")
        title = str((meta.get("title") if isinstance(meta, dict) else None) or class_type)
        return Progress(self._at, class_type, title, step, steps, len(self._done), len(self._workflow))


def _count(value: Any) -> int:
    """A number of steps; custom nodes tell their progress in whatever they count with."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0
