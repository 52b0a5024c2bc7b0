"""The form of a job."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyport.errors import InvalidJob
from comfyport.jobs.request import InputFile, Request, parse

WORKFLOW = {"1": {"class_type": "EmptyImage", "inputs": {}}}
IMAGES = "'images' must be a list of objects with 'name' and 'image' keys"
FILES = "'files' must be a list of objects with 'name' and one of 'data' and 'url'"
A = {"name": "a.png", "image": "aGk="}


def test_reads_a_job():
    images = [{"name": "in.png", "image": "aGk="}]

    request = parse({"id": "7", "input": {"workflow": WORKFLOW, "images": images, "timeout": 5, "unknown": 1}})

    assert (request.id, request.workflow, request.timeout) == ("7", WORKFLOW, 5.0)
    assert request.files == (InputFile("in.png", "aGk=", must_be_picture=True),)


@pytest.mark.parametrize(
    "address", ["https://a.b/in.png", "HTTPS://A.B/", "ftp://a.b/", "file:///etc/passwd", " https://a.b/\n"]
)
def test_tells_an_address_from_base64(address: str):
    files = [{"name": "a.wav", "url": address}, {"name": "b.wav", "data": "aGk="}, {"name": "c.wav", "data": "data:,"}]

    request = parse({"input": {"workflow": WORKFLOW, "images": [A | {"image": address}], "files": files}})

    assert [file.is_address for file in request.files] == [True, True, False, False]
    assert [file.must_be_picture for file in request.files] == [True, False, False, False]
    assert request.files[0].content == address.strip()


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
        ({"workflow": WORKFLOW, "images": {}}, IMAGES),
        ({"workflow": WORKFLOW, "images": [1]}, IMAGES),
        ({"workflow": WORKFLOW, "images": ["name image"]}, IMAGES),
        ({"workflow": WORKFLOW, "images": [{"name": "a.png"}]}, IMAGES),
        ({"workflow": WORKFLOW, "images": [{"name": "../a.png", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "images": [{"name": "/etc/a", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "images": [{"name": "a\\..\\b", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "images": [{"name": "a\0.png", "image": ""}]}, "without control characters"),
        ({"workflow": WORKFLOW, "images": [{"name": "\ud800.png", "image": ""}]}, "without control characters"),
        ({"workflow": WORKFLOW, "images": [{"name": "C:a.png", "image": ""}]}, "plain file name"),
        ({"workflow": WORKFLOW, "images": [{"name": "a/" * 20 + "b", "image": ""}]}, "more than 8 parts"),
        ({"workflow": WORKFLOW, "images": [{"name": "a.png", "image": 1}]}, IMAGES),
        ({"workflow": WORKFLOW, "images": [{"name": "a.png", "image": None}]}, IMAGES),
        ({"workflow": WORKFLOW, "images": [{"name": "a.png", "data": "aGk="}]}, IMAGES),
        ({"workflow": WORKFLOW, "files": {}}, FILES),
        ({"workflow": WORKFLOW, "files": [{"name": "a.wav"}]}, FILES),
        ({"workflow": WORKFLOW, "files": [{"name": "a.wav", "data": "", "url": "https://a.b/"}]}, FILES),
        ({"workflow": WORKFLOW, "files": [{"name": "a.wav", "url": "aGk="}]}, "not an address"),
        ({"workflow": WORKFLOW, "images": [A], "files": [{"name": "a.png", "data": ""}]}, "the same name: a.png"),
        ({"workflow": WORKFLOW, "images": [A | {"name": "\u00e4"}, A | {"name": "a\u0308"}]}, "the same name"),
        ({"workflow": WORKFLOW, "images": [A | {"name": "a/b"}, A | {"name": "a\\b"}]}, "the same name: a/b"),
        ({"workflow": WORKFLOW, "set": [1]}, "'set' must be an object"),
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


FIELDS = [
    "workflow",
    "images",
    "files",
    "set",
    "output",
    "timeout",
    "previews",
    "s3Config",
    "comfy_org_api_key",
    "input",
]
NAMES = ["name", "image", "data", "url", "inputs", "class_type", "delivery", "include_temp", "endpointUrl", "1"]
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a.png", "https://["]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
odd_job = st.fixed_dictionaries(
    {
        "input": odd
        | st.fixed_dictionaries({"workflow": st.just(WORKFLOW) | odd}, optional=dict.fromkeys(FIELDS[1:], odd))
    },
    optional={"id": odd, "s3Config": odd},
)


@settings(max_examples=2000)
@given(odd | odd_job)
def test_an_odd_job_is_read_or_refused_but_never_breaks_anything(job: Any):
    try:
        read: Request | str = parse(job)
    except InvalidJob as refused:
        read = refused.message

    assert read
