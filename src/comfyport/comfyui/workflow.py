"""A workflow in API format, and how it is made to name its input files otherwise."""

import unicodedata
from collections.abc import Mapping
from typing import Any

Workflow = dict[str, Any]

ANNOTATION = " [input]"


def input_name(text: str) -> str:
    """The form in which names of input files are compared: saved on any system, typed on any keyboard."""
    return unicodedata.normalize("NFC", text.replace("\\", "/"))


def renamed(workflow: Workflow, names: Mapping[str, str]) -> tuple[Workflow, set[str]]:
    """The workflow with its input files called by their new names, and which of them it mentions.

    `names` leads from names as `input_name` gives them to new ones. A mention is a whole text, however deep within an
    input's lists and objects, also with ComfyUI's ` [input]` behind it (folder_paths.py, annotated_filepath).
    """
    mentioned: set[str] = set()

    def new(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: new(item) for key, item in value.items()}
        if isinstance(value, list):
            return value if is_link(value, workflow) else [new(item) for item in value]
        if not isinstance(value, str):
            return value
        plain = value.removesuffix(ANNOTATION)
        name = input_name(plain)
        if name not in names:
            return value
        mentioned.add(name)
        return names[name] + value[len(plain) :]

    return {node_id: {**node, "inputs": new(node.get("inputs", {}))} for node_id, node in workflow.items()}, mentioned


def is_link(value: Any, workflow: Workflow) -> bool:
    """Whether an input's value is the output of another node: [node id, number]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and value[0] in workflow
        and isinstance(value[1], int)
    )
