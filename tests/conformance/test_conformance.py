"""Jobs and their answers, each in a file of `cases/`, with the emulator and with a real ComfyUI (COMFYUI_DIR)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from comfyport.serve.host import Host
from tests.conformance.matching import differences, filled

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_job_is_answered_as_its_case_says(host: Host, file: Path):
    case = json.loads(file.read_text(encoding="utf-8"))

    answer = asyncio.run(host.run(filled(case["job"])))

    assert not list(differences(case["answer"], answer)), json.dumps(answer, indent=1)[:4000]


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_case_says_what_it_is_about_and_why_it_differs(file: Path):
    case = json.loads(file.read_text(encoding="utf-8"))

    assert set(case) <= {"about", "worker_comfyui", "differs", "job", "answer"}
    assert case["about"].endswith(".")
    assert bool(case.get("differs")) == ("worker_comfyui" in case)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 2),
        ([1], [1, 1]),
        ({"a": 1}, {"b": 1}),
        ({"a": {"$absent": True}}, {"a": None}),
        ({"$matches": "a+"}, "aab"),
        ({"$contains": ["x"]}, ["a"]),
        ({"$lacks": ["x"]}, "x"),
        ({"$number": True}, "1"),
        ({"$unordered": [1, 2]}, [2, 2]),
        ({"$picture": {"size": [2, 2]}}, filled({"$png": {"size": [2, 1], "colour": [0, 0, 0]}})),
        ({"$picture": {"size": [2, 1], "colour": [1, 0, 0]}}, filled({"$png": {"size": [2, 1], "colour": [0, 0, 0]}})),
    ],
)
def test_a_difference_is_found(expected: Any, actual: Any):
    assert list(differences(expected, actual))
