"""What ComfyUI can run, by its `/object_info`: each node's inputs with what they may be, and its outputs.

    {"KSampler": {"input": {"required": {"seed": ["INT", {"min": 0}], "sampler_name": [["euler", …], {}]},
     "optional": {…}}, "output": ["LATENT"], "output_node": false}}

A list of choices is the type itself, or ["COMBO", {"options": […]}] for nodes of the new (V3) interface. Custom nodes
declare what they like, and another version may answer in another form: what cannot be read says nothing, which means
that anything may be allowed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Inputs that are declared as one and come as several, such as `images.image0` (comfy_api/latest/_io.py).
_DYNAMIC = re.compile(r"COMFY_\w+_V\d+")
# What is in the list is not all that is allowed.
_OPEN = (
    "remote",
    "multiselect",
    "image_upload",
    "video_upload",
    "audio_upload",
    "file_upload",
    "animated_image_upload",
)


@dataclass(frozen=True)
class Input:
    """One declared input: `kind` is its type, or the list of its choices; `options` are its limits."""

    name: str
    required: bool
    kind: Any
    options: Mapping[str, Any]

    @property
    def is_dynamic(self) -> bool:
        """Whether the workflow gives it under other names than this."""
        return isinstance(self.kind, str) and bool(_DYNAMIC.fullmatch(self.kind))

    @property
    def is_modern(self) -> bool:
        """Whether its choices are declared in the new form, which ComfyUI 0.3.64 does not check."""
        return bool(self.kind == "COMBO")

    @property
    def is_lazy(self) -> bool:
        """Whether what it is linked to may never run."""
        return bool(self.options.get("lazy"))

    @property
    def choices(self) -> list[Any] | None:
        """All that is allowed; None where that is not known."""
        choices = self.options.get("options") if self.is_modern else self.kind
        if not isinstance(choices, list) or any(self.options.get(name) for name in _OPEN):
            return None
        return choices


@dataclass(frozen=True)
class NodeType:
    """One kind of node; `outputs` are the types of what it gives, None where they are not known."""

    name: str
    inputs: Mapping[str, Input]
    outputs: tuple[Any, ...] | None
    is_output: bool


class Catalogue(Mapping[str, NodeType]):
    """The node types by class name; each is read when it is first asked for."""

    def __init__(self, object_info: Any) -> None:
        self._raw: dict[str, Any] = object_info if isinstance(object_info, dict) else {}
        self._read: dict[str, NodeType] = {}

    def __getitem__(self, name: str) -> NodeType:
        if name not in self._read:
            self._read[name] = _node_type(name, self._raw[name])
        return self._read[name]

    def choices(self, names: Iterable[str]) -> dict[str, dict[str, list[str]]]:
        """By node type and input the texts that may be chosen; what is not known or has no list is left out."""
        known = {name: self[name] for name in names if name in self}
        return {
            name: {
                one.name: one.choices
                for one in node.inputs.values()
                if one.choices and all(isinstance(choice, str) for choice in one.choices)
            }
            for name, node in known.items()
        }

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _node_type(name: str, info: Any) -> NodeType:
    info = info if isinstance(info, dict) else {}
    declared = info.get("input") if isinstance(info.get("input"), dict) else {}
    inputs: dict[str, Input] = {}
    # Where both have a name, ComfyUI reads it as required (comfy_execution/graph.py, get_input_info).
    for category in ("optional", "required"):
        listed = declared.get(category)
        for key, entry in listed.items() if isinstance(listed, dict) else ():
            inputs[key] = _input(key, entry, required=category == "required")
    outputs = info.get("output")
    return NodeType(
        name, inputs, tuple(outputs) if isinstance(outputs, list) else None, info.get("output_node") is True
    )


def _input(name: str, entry: Any, *, required: bool) -> Input:
    parts = entry if isinstance(entry, list) and entry else [None]
    options = parts[1] if len(parts) > 1 and isinstance(parts[1], dict) else {}
    return Input(name, required, parts[0], options)
