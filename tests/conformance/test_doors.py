"""The same jobs through RunPod's worker, the HTTP face and Modal: the same answers but for timings and ids."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.doors import Door, all_three
from tests.conformance.matching import differences, filled
from tests.conformance.test_conformance import CASES

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# ComfyUI counts from what is in its folder: from 1 in a container that is new.
NUMBER = re.compile(r"_\d{5}_")
# A body without an input is refused by RunPod and by the HTTP face before there is a job.
JOBS = [file for file in CASES if json.loads(file.read_text(encoding="utf-8"))["job"].get("input") is not None]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Door]]:
    with all_three(tmp_path_factory.mktemp("doors")) as opened:
        yield opened


@pytest.mark.timeout(200)
@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.stem)
def test_a_job_has_the_same_answer_at_every_door(doors: dict[str, Door], file: Path):
    case = json.loads(file.read_text(encoding="utf-8"))
    job_input = filled(case["job"]["input"])

    answers = {name: ask(job_input) for name, ask in doors.items()}

    for name, answer in answers.items():
        assert not list(differences(case["answer"], answer)), (name, json.dumps(answer, indent=1)[:4000])
    assert comparable(answers["runpod"]) == comparable(answers["http"]) == comparable(answers["modal"])


def comparable(answer: dict[str, Any]) -> Any:
    """An answer without its timings, with one name for every id and every number that ComfyUI gives a file."""
    rest = {key: value for key, value in answer.items() if key != "timings"}
    return json.loads(NUMBER.sub("_<number>_", UUID.sub("<id>", json.dumps(rest))))
