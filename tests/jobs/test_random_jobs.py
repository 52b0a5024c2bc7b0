"""Whatever is sent is answered, and the worker goes on to the next."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyport.serve.host import Host
from tests import workflows
from tests.conftest import run

SECONDS = 20.0

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("🖼" * 5000)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
names = st.text(max_size=300) | st.sampled_from(["in.png", "../up.png", "/etc/passwd", "a\0b", "CON", ".", "ü" * 200])
contents = (
    st.text(max_size=40)
    | st.binary(max_size=200).map(lambda data: data.hex())
    | st.sampled_from(["aGk=", "data:image/png;base64,", "https://", "http://127.0.0.1/", "file:///etc/passwd", "==="])
)
files = st.lists(
    st.fixed_dictionaries({}, optional={"name": names, "image": contents, "data": contents, "url": contents})
    | anything,
    max_size=4,
)


@st.composite
def damaged_workflows(draw: st.DrawFn) -> Any:
    """A workflow that could run, with one place of it replaced by anything."""
    workflow: dict[str, Any] = json.loads(json.dumps(workflows.scaled(draw(st.integers(0, 0xFFFFFF)))))
    node = draw(st.sampled_from(sorted(workflow)))
    match draw(st.integers(0, 4)):
        case 0:
            workflow[node] = draw(anything)
        case 1:
            workflow[node]["class_type"] = draw(anything)
        case 2:
            inputs = workflow[node]["inputs"]
            inputs[draw(st.sampled_from(sorted(inputs)))] = draw(anything)
        case 3:
            workflow[draw(st.text(max_size=5))] = draw(anything)
        case _:
            del workflow[node]
    return workflow


jobs = st.fixed_dictionaries(
    {"workflow": anything | damaged_workflows()},
    optional={
        "images": files | anything,
        "files": files | anything,
        "set": st.dictionaries(st.sampled_from(["1.color", "ImageScale.width", "x", "9.y"]), anything) | anything,
        "output": st.fixed_dictionaries({}, optional={"delivery": anything, "include_temp": anything}) | anything,
        "timeout": st.sampled_from([0, -1, 5, "5", float("inf"), True]) | anything,
        "previews": anything,
        "s3Config": anything,
        "comfy_org_api_key": anything,
    },
)


@pytest.mark.timeout(600)
@settings(max_examples=2000)
@given(job=st.fixed_dictionaries({"input": jobs | jobs.map(repr) | anything}) | anything)
def test_any_job_is_answered(emulated: Host, job: Any):
    answer = asyncio.run(asyncio.wait_for(emulated.run(job), SECONDS))

    assert "images" in answer or (isinstance(answer["error"], str) and answer["error_code"])
    assert answer.get("error_code") != "error", "an error that nobody foresaw"
    json.dumps(answer)


def test_the_worker_lives_on_after_them(emulated: Host):
    assert "images" in run(emulated, {"workflow": workflows.scaled(0x0A0B0C)})
