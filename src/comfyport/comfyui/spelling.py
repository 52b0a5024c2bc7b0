"""Writes the paths in a workflow as this ComfyUI lists them: one saved on Windows says `SDXL\\a.safetensors`."""

from typing import Any

from comfyport.comfyui.catalogue import Catalogue
from comfyport.comfyui.needs import plain
from comfyport.comfyui.workflow import Workflow


def respelled(workflow: Workflow, catalogue: Catalogue) -> Workflow:
    """The workflow with each value that differs from exactly one of its choices by separators replaced by that one."""
    spelled: Workflow = {}
    for node_id, node in workflow.items():
        changes = _changes(node, catalogue)
        spelled[node_id] = {**node, "inputs": {**node["inputs"], **changes}} if changes else node
    return spelled


def _changes(node: Any, catalogue: Catalogue) -> dict[str, str]:
    class_type = node.get("class_type") if isinstance(node, dict) else None
    if not isinstance(class_type, str) or class_type not in catalogue or not isinstance(node.get("inputs"), dict):
        return {}
    changes: dict[str, str] = {}
    for name, value in node["inputs"].items():
        declared = catalogue[class_type].inputs.get(name)
        choices = declared.choices if declared else None
        if choices is None or not isinstance(value, str) or not ("/" in value or "\\" in value) or value in choices:
            continue
        meant = [choice for choice in choices if isinstance(choice, str) and plain(choice) == plain(value)]
        if len(meant) == 1:
            changes[name] = meant[0]
    return changes
