"""What a workflow in API format needs."""

import ntpath
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

Workflow = dict[str, Any]

ANNOTATION = " [input]"


def file_names(workflow: Workflow) -> set[str]:
    """The last path parts of all texts among the nodes' inputs: the candidates for model files.

    A loader names its file by a path below the model's folder, with the separators of the system that the workflow
    was saved on.
    """
    return {ntpath.basename(text) for text in _texts(workflow) if "\n" not in text}


def _texts(workflow: Workflow) -> Iterator[str]:
    for node in workflow.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for value in inputs.values() if isinstance(inputs, dict) else ():
            if isinstance(value, str):
                yield value


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
