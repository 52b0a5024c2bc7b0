"""Which node of a workflow a result belongs to, and how to have it made anew."""

import uuid
from collections.abc import Iterable

from comfyport.comfyui.client import Json
from comfyport.comfyui.workflow import Workflow


def prompt_node(node_id: str) -> str:
    """The node of the workflow that `node_id` is, or that it was expanded from.

    The nodes that node 12 expands to are 12.0.0.1 and the like (comfy_execution/graph_utils.py, GraphBuilder).
    """
    return node_id.split(".")[0]


def in_order(outputs: dict[str, Json], workflow: Workflow) -> dict[str, Json]:
    """The outputs by node id, in the workflow's order.

    ComfyUI's own is that of a set of texts (execution.py, execute_async): another one in each process.
    """
    places = {node_id: place for place, node_id in enumerate(workflow)}
    return dict(sorted(outputs.items(), key=lambda item: places.get(prompt_node(item[0]), len(places))))


def made_anew(workflow: Workflow, node_ids: Iterable[str]) -> Workflow:
    """The workflow with an input more at these nodes, which makes them others to ComfyUI's cache.

    ComfyUI passes no input to a node that the node does not declare, but counts it among what its result depends on.
    """
    fresh = {node_id: {"comfyport_run": uuid.uuid4().hex} for node_id in node_ids}
    return {
        node_id: {**node, "inputs": {**node.get("inputs", {}), **fresh.get(node_id, {})}}
        for node_id, node in workflow.items()
    }
