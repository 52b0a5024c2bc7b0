"""A refused workflow in one message, whatever form ComfyUI's answer has."""

import json
from typing import Any

import pytest

from comfyport.comfyui.rejection import rejection

WORKFLOW = {"4": {"class_type": "CheckpointLoaderSimple", "inputs": {}}}


def not_in_list(config: Any) -> dict[str, Any]:
    error = {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": "long",
        "extra_info": {"input_name": "ckpt_name", "received_value": "a.ckpt", "input_config": config},
    }
    return {"error": {"type": "prompt_outputs_failed_validation"}, "node_errors": {"4": {"errors": [error]}}}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ([["b.ckpt", "c.ckpt"]], "There is: b.ckpt, c.ckpt"),
        (["COMBO", {"options": ["b.ckpt"]}], "There is: b.ckpt"),
        ([[]], "There is: none"),
        ([[f"{number}.ckpt" for number in range(100)]], "and 80 more"),
    ],
)
def test_a_missing_file_is_answered_with_the_files_that_are_there(config: Any, told: str):
    error = rejection(json.dumps(not_in_list(config)), WORKFLOW)

    assert "• Node 4 (CheckpointLoaderSimple): ckpt_name: 'a.ckpt' is not there" in error.message
    assert told in error.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html>proxy</html>", "<html>proxy</html>"),
        ('{"error": "no prompt"}', "no prompt"),
        ('{"error": {"message": "Cannot execute", "details": "Node 7"}, "node_errors": []}', "Cannot execute: Node 7"),
        ("[]", "[]"),
    ],
)
def test_an_odd_answer_is_shown_as_it_came(body: str, told: str):
    assert told in rejection(body, WORKFLOW).message
