"""What a workflow in API format needs."""

import ntpath
from collections.abc import Iterator
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
