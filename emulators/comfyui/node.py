"""What a node is: what it declares for /object_info and validation, and what it does.

Declarations hold what a client computes with (types, choices, limits, defaults), but no tooltips and descriptions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from emulators.comfyui.folders import Folders

Inputs = dict[str, Any]
"""The values of one node's inputs by name, links already followed."""

Declaration = dict[str, dict[str, Any]]
"""required / optional / hidden -> input name -> [type or choices, options]; of a hidden one its kind alone."""

Preview = tuple[str, Image.Image, int]
"""Format (JPEG), picture, longest side in pixels."""


@dataclass(frozen=True)
class Settings:
    """What running prompts and their nodes need to know of how the emulator was started."""

    disable_metadata: bool = False
    step_seconds: float = 0.0
    preview: bool = False
    preview_size: int = 512
    cache_lru: int = 0
    cache_none: bool = False


@dataclass(frozen=True)
class Run:
    """What a node may use while it runs, besides its inputs.

    `report(value, maximum, preview)` announces progress and raises if the prompt was interrupted;
    `wait(seconds)` passes time.
    """

    folders: Folders
    settings: Settings
    report: Callable[[int, int, Preview | None], None]
    wait: Callable[[float], None]


@dataclass(frozen=True)
class Outcome:
    """What a node gives: one value per output, and what the user is shown (`images`, `text`, ...)."""

    values: tuple[Any, ...] = ()
    shown: dict[str, list[Any]] = field(default_factory=dict)


class Node:
    """One kind of node. An instance lives as long as the node stays in the prompts that follow each other."""

    name: ClassVar[str]
    display_name: ClassVar[str | None]
    category: ClassVar[str]
    module: ClassVar[str] = "nodes"
    output: ClassVar[tuple[str, ...]] = ()
    output_names: ClassVar[tuple[str, ...]] = ()
    """What the outputs are called, where that is not their types."""
    output_node: ClassVar[bool] = False
    modern: ClassVar[bool] = False
    """Written for ComfyUI's new (V3) node interface: more is declared, and lists of choices are not checked."""
    experimental: ClassVar[bool] = False
    self_checked: ClassVar[frozenset[str]] = frozenset()
    """Inputs that `check` judges instead of the declaration (`VALIDATE_INPUTS`)."""

    def inputs(self, folders: Folders) -> Declaration:
        """What it takes."""
        raise NotImplementedError

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        """Does the work."""
        raise NotImplementedError

    def check(self, inputs: Inputs, folders: Folders) -> str | None:
        """What is wrong with the `self_checked` inputs, None if nothing is (`VALIDATE_INPUTS`)."""
        return None

    def fingerprint(self, inputs: Inputs, folders: Folders) -> str | None:
        """Changes when the node must run again although its inputs are the same (`IS_CHANGED`)."""
        return None


def describe(node: Node, folders: Folders) -> dict[str, Any]:
    """A node's entry in /object_info."""
    inputs = node.inputs(folders)
    info: dict[str, Any] = {
        "input": {kind: _modern(entries) for kind, entries in inputs.items()} if node.modern else inputs,
        "input_order": {kind: list(entries) for kind, entries in inputs.items()},
        "output": node.output,
        "output_is_list": [False] * len(node.output),
        "output_name": node.output_names or node.output,
        "name": node.name,
        "display_name": node.display_name,
        "description": "",
        "python_module": node.module,
        "category": node.category,
        "output_node": node.output_node,
    }
    if node.modern:
        info |= {"output_tooltips": [None] * len(node.output)}
        info |= {"deprecated": False, "experimental": node.experimental, "api_node": False}
    return info


def _modern(entries: dict[str, Any]) -> dict[str, Any]:
    """Inputs as the new interface declares them."""
    return {
        name: ["COMBO", {"multiselect": False, "options": kind}]
        if isinstance(kind, list)
        else [kind, *(options or [{}])]
        for name, (kind, *options) in entries.items()
    }


def by_name(nodes: Iterable[type[Node]]) -> dict[str, type[Node]]:
    """The nodes by the name that a workflow's `class_type` holds."""
    return {node.name: node for node in nodes}
