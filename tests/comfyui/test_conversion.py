"""A workflow of the editor in API format, as the ComfyUI that runs it declares its nodes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from comfyport.comfyui.conversion import to_api_format
from comfyport.errors import UsageError
from emulators.comfyui import ComfyUIEmulator
from tests.comfyui.editor_workflows import node, workflow
from tests.conftest import ROOT

EXAMPLE = json.loads((ROOT / "examples" / "import" / "workflow.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info() -> Iterator[dict[str, Any]]:
    with ComfyUIEmulator() as comfyui:
        yield requests.get(f"{comfyui.url}/object_info", timeout=30).json()


def test_the_nodes_of_a_subgraph_take_the_place_of_it_and_notes_are_left_out(object_info: dict[str, Any]):
    converted = to_api_format(EXAMPLE, object_info)

    assert {key: (each["class_type"], each["inputs"]) for key, each in converted.items()} == {
        "1": ("EmptyImage", {"width": 32, "height": 24, "batch_size": 1, "color": 8421504}),
        "2:1": ("UpscaleModelLoader", {"model_name": "quickstart-4x.safetensors"}),
        "2:2": ("ImageUpscaleWithModel", {"upscale_model": ["2:1", 0], "image": ["1", 0]}),
        "3": ("SaveImage", {"images": ["2:2", 0], "filename_prefix": "upscaled"}),
    }


def test_the_choice_of_a_subgraphs_node_counts_and_not_the_one_within(object_info: dict[str, Any]):
    changed = json.loads(json.dumps(EXAMPLE))
    changed["nodes"][1]["widgets_values"] = ["another.safetensors"]

    assert to_api_format(changed, object_info)["2:1"]["inputs"] == {"model_name": "another.safetensors"}


def test_a_node_that_this_comfyui_lacks_is_named(object_info: dict[str, Any]):
    saved = workflow(node(1, "SaveImage"), node(2, "SomeNode"), node(3, "OffNode", mode=4))

    with pytest.raises(UsageError, match=r"this ComfyUI has no SomeNode\."):
        to_api_format(saved, object_info)


def test_a_workflow_of_which_nothing_runs_is_refused(object_info: dict[str, Any]):
    with pytest.raises(UsageError, match="no node that runs"):
        to_api_format(workflow(node(1, "Note", "hello"), node(2, "SaveImage", mode=2)), object_info)
