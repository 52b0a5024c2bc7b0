"""A workflow as the editor saves it becomes one in API format: with comfy-cli's converter, and what a ComfyUI can run.

The editor's file holds the values of widgets without their names, and leaves out what was never changed: only a node's
declaration (`/object_info`) tells them. Without it not one of 116 templates of ComfyUI's own came out right.
"""

from collections.abc import Mapping
from typing import Any

from comfyport.comfyui import editor
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import UsageError

# They stand in the editor only.
_NOT_RUN = frozenset({"Note", "MarkdownNote", "PrimitiveNode", "Reroute", "GetNode", "SetNode"})


def to_api_format(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Workflow:
    """The workflow in API format, for the ComfyUI that `object_info` is of.

    Raises UsageError if comfy-cli is not installed, if that ComfyUI lacks a node, or if nothing is left that runs.
    """
    try:
        from comfy_cli.workflow_to_api import WorkflowConversionError, convert_ui_to_api
    except ImportError:
        raise UsageError(
            "The workflow is in ComfyUI's editor format, and what converts it is not installed. "
            "Install it with `pip install comfyport[comfyui]`, or export the workflow with 'Export (API)' in ComfyUI."
        ) from None
    needed = {node.type for node in editor.nodes(workflow) if node.is_active} - _NOT_RUN
    if lacking := sorted(needed.difference(object_info)):
        raise UsageError(
            f"The workflow cannot be converted: this ComfyUI has no {', '.join(lacking)}. "
            "Name one that has these nodes with --comfyui, or export it with 'Export (API)' there."
        )
    try:
        converted = convert_ui_to_api(dict(workflow), dict(object_info))
    except WorkflowConversionError as error:
        raise UsageError(f"The workflow cannot be converted: {error}.") from None
    if not converted:
        raise UsageError("The workflow has no node that runs: all are notes, muted or bypassed.")
    return dict(converted)
