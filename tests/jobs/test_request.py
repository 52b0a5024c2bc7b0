"""The form of a job."""

import json
from typing import Any

import pytest

from comfyport.errors import InvalidJob
from comfyport.jobs.inputs import decode
from comfyport.jobs.request import InputFile, parse

WORKFLOW = {"1": {"class_type": "EmptyImage", "inputs": {}}}
IMAGES = "'images' must be a list of objects with 'name' and 'image' keys"


def test_reads_a_job():
    images = [{"name": "in.png", "image": "aGk="}]

    request = parse({"id": "7", "input": {"workflow": WORKFLOW, "images": images, "timeout": 5, "unknown": 1}})

    assert (request.id, request.workflow, request.timeout) == ("7", WORKFLOW, 5.0)
    assert request.files == (InputFile("in.png", "aGk="),)


def test_reads_an_input_that_is_a_json_string():
    assert parse({"input": json.dumps({"workflow": WORKFLOW})}).workflow == WORKFLOW


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Please provide input"),
        ("{", "Invalid JSON format in input"),
        ("[" * 100_000, "Invalid JSON format in input"),
        ("[1]", "'input' must be an object"),
        ({}, "Missing 'workflow' parameter"),
        ({"workflow": "text"}, "'workflow' must be an object"),
        ({"workflow": {}}, "'workflow' must be an object"),
        ({"workflow": {"nodes": [], "links": []}}, "Export (API)"),
        ({"workflow": {"1": "text"}}, "not a node"),
        ({"workflow": {"1": {"class_type": "A", "inputs": []}}}, "not a node"),
        ({"workflow": WORKFLOW, "images": {}}, IMAGES),
        ({"workflow": WORKFLOW, "images": [1]}, IMAGES),
        ({"workflow": WORKFLOW, "images": ["name image"]}, IMAGES),
        ({"workflow": WORKFLOW, "images": [{"name": "a.png"}]}, IMAGES),
        ({"workflow": WORKFLOW, "images": [{"name": "../a.png", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "images": [{"name": "/etc/a", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "images": [{"name": "a\\..\\b", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "timeout": "soon"}, "'timeout' must be"),
        ({"workflow": WORKFLOW, "timeout": True}, "'timeout' must be"),
        ({"workflow": WORKFLOW, "timeout": 0}, "'timeout' must be"),
    ],
)
def test_refuses_with_a_reason(given: Any, message: str):
    with pytest.raises(InvalidJob) as refused:
        parse({"input": given})

    assert message in refused.value.message


@pytest.mark.parametrize("job", [None, 3, "text", []])
def test_refuses_what_is_not_an_object(job: Any):
    with pytest.raises(InvalidJob):
        parse(job)


@pytest.mark.parametrize("data", ["aGk=", "data:image/png;base64,aGk=", " aG\nk= "])
def test_decodes_base64_and_data_uris(data: str):
    assert decode(data) == b"hi"


@pytest.mark.parametrize("data", ["a", "a?b=", "ä"])
def test_refuses_what_is_not_base64(data: str):
    with pytest.raises(ValueError, match="[Bb]ase64|padding|ASCII|characters"):
        decode(data)
