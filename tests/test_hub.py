"""RunPod's Hub: the listing has the published form, its variables are the worker's own, and its test passes here."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from comfyport.serve.host import Host
from comfyport.settings import Settings
from scripts import hub_listing
from scripts.runpod_deploy.wanted import WORKER_ENVIRONMENT
from tests.conftest import ROOT, run

LISTING = json.loads((ROOT / ".runpod" / "hub.json").read_text(encoding="utf-8"))
TESTS = json.loads((ROOT / ".runpod" / "tests.json").read_text(encoding="utf-8"))

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": {"type": "string"}}


def closed(required: dict[str, Any], /, **optional: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": [*required],
        "additionalProperties": False,
    }


# https://docs.runpod.io/hub/publishing-guide
INPUT = closed(
    {"name": TEXT, "type": {"enum": ["string", "number", "boolean", "huggingface"]}, "description": TEXT},
    default={"type": ["string", "number", "boolean"]},
    options={"type": "array", "items": closed({"label": TEXT, "value": TEXT})},
    min={"type": "number"},
    max={"type": "number"},
    required={"type": "boolean"},
    advanced={"type": "boolean"},
    trueValue={"type": "string"},
    falseValue={"type": "string"},
)
VARIABLE = {"oneOf": [closed({"key": TEXT, "value": {"type": "string"}}), closed({"key": TEXT, "input": INPUT})]}
HUB_FORM = closed(
    {
        "title": TEXT,
        "description": TEXT,
        "type": {"const": "serverless"},
        "category": {"enum": ["audio", "embedding", "language", "video", "image"]},
        "config": closed(
            {
                "runsOn": {"const": "GPU"},
                "containerDiskInGb": {"type": "integer"},
                "gpuCount": {"type": "integer"},
                "gpuIds": TEXT,
            },
            allowedCudaVersions=TEXTS,
            endpointType={"const": "LB"},
            env={"type": "array", "items": VARIABLE},
            presets={"type": "array", "items": closed({"name": TEXT, "defaults": {"type": "object"}})},
        ),
    },
    iconUrl=TEXT,
)
TESTS_FORM = closed(
    {
        "tests": {
            "type": "array",
            "minItems": 1,
            "items": closed({"name": TEXT, "input": {"type": "object"}}, timeout={"type": "integer"}),
        },
        "config": closed(
            {"gpuTypeId": TEXT, "gpuCount": {"type": "integer"}},
            env={"type": "array", "items": closed({"key": TEXT, "value": {"type": "string"}})},
            allowedCudaVersions=TEXTS,
        ),
    }
)


def inputs() -> dict[str, dict[str, Any]]:
    return {variable["key"]: variable["input"] for variable in LISTING["config"]["env"] if "input" in variable}


@pytest.mark.parametrize(("document", "form"), [(LISTING, HUB_FORM), (TESTS, TESTS_FORM)], ids=["hub", "tests"])
def test_the_files_have_the_published_form(document: Any, form: Any):
    assert [error.message for error in Draft202012Validator(form).iter_errors(document)] == []


def test_what_the_hub_looks_for_is_there():
    assert [name for name in ("handler.py", "Dockerfile", "README.md") if not _is_there(name)] == []
    loaded = subprocess.run(
        [sys.executable, "-c", "import runpy; print(runpy.run_path('.runpod/handler.py')['handler'].__module__)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "comfyport.serve.host"


def _is_there(name: str) -> bool:
    return (ROOT / name).is_file() or (ROOT / ".runpod" / name).is_file()


def test_the_listing_is_made_from_the_settings():
    assert hub_listing.document() == LISTING, "run: python -m scripts.hub_listing > .runpod/hub.json"


def test_what_is_left_out_is_a_setting():
    names = {field.metadata["name"] for field in dataclasses.fields(Settings)}

    assert {name for group in hub_listing.LEFT_OUT.values() for name in group} <= names


def test_every_default_and_every_choice_is_a_value_that_the_worker_takes():
    for name, given in inputs().items():
        choices = [option["value"] for option in given.get("options", [])]
        choices += [given["trueValue"], given["falseValue"]] if given["type"] == "boolean" else [str(given["default"])]
        for choice in choices:
            Settings.load({name: choice})


def test_no_token_has_a_default_and_the_workers_may_start_for_an_hour():
    fixed = {variable["key"]: variable["value"] for variable in LISTING["config"]["env"] if "value" in variable}

    assert [name for name, given in inputs().items() if "TOKEN" in name and given["default"]] == []
    assert fixed == WORKER_ENVIRONMENT


def test_the_hubs_test_passes_on_this_worker(host: Host):
    for case in TESTS["tests"]:
        answer = run(host, case["input"])
        assert len(answer["images"]) == 1, answer
