"""Whether a workflow has the form that ComfyUI's server and its prompt thread survive.

ComfyUI looks at `class_type` only before it queues a prompt. What it then cannot read, in a node that no output needs
too, ends the thread that runs prompts, and no job is answered any more (execution.py, PromptExecutor.execute_async and
PromptQueue.get; comfy_execution/caching.py; seen with v0.3.64).
"""

from collections.abc import Iterator
from typing import Any

from comfyport.comfyui.problems import Problem

# ComfyUI copies a prompt with a function that calls itself: 500 levels end its thread, 350 do not (seen with v0.3.64).
DEEPEST_VALUE = 300
# Python refuses to read a longer number from text.
LARGEST_NUMBER_BITS = 14_000


def malformed(workflow: Any) -> Iterator[Problem]:
    """What keeps ComfyUI from reading the workflow; only one that has none of this may be looked at further."""
    if not isinstance(workflow, dict) or not workflow:
        yield _wrong("", "", "It must be an object that maps node ids to nodes")
        return
    for node_id, node in workflow.items():
        if not isinstance(node_id, str):
            yield _wrong(str(node_id), "", "The id of a node must be a string")
        elif not isinstance(node, dict):
            yield _wrong(node_id, "", "A node must be an object with class_type and inputs")
        else:
            yield from _malformed_node(node_id, node)


def _malformed_node(node_id: str, node: dict[Any, Any]) -> Iterator[Problem]:
    class_type = node.get("class_type")
    if not isinstance(class_type, str):
        yield _wrong(node_id, "", "Cannot execute because a node is missing the class_type property.")
        return
    if "inputs" not in node:
        yield _wrong(node_id, class_type, "A node must have inputs, if only {}")
    elif not isinstance(node["inputs"], dict):
        yield _wrong(node_id, class_type, "The inputs of a node must be an object")
    if reason := _unreadable(node):
        yield _wrong(node_id, class_type, reason)


def _wrong(node_id: str, class_type: str, message: str) -> Problem:
    details = f"Node ID '#{node_id}'" if node_id else ""
    return Problem(node_id, class_type, "whole", "invalid_prompt", message, details)


def _unreadable(node: dict[Any, Any]) -> str:
    """Why a node cannot be sent as JSON, or not be copied by ComfyUI; empty if it can."""
    level: list[Any] = [node]
    for _ in range(DEEPEST_VALUE):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return "The name of an input or a field must be a string"
                inner += value.values()
            elif isinstance(value, list | tuple):
                inner += value
            elif isinstance(value, int):
                if value.bit_length() > LARGEST_NUMBER_BITS:
                    return "It has a number of more than 4000 digits"
            elif not isinstance(value, str | float | None):
                return f"It has a value that is no JSON: {type(value).__name__}"
        if not inner:
            return ""
        level = inner
    return f"It has a value that is nested more than {DEEPEST_VALUE} levels deep"
