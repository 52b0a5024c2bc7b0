"""The Dockerfile keeps to what every builder takes, and its locks agree."""

import re
from pathlib import Path

import pytest

from emulators.modal_builder.check import check
from emulators.modal_builder.dockerfile import Instruction, flags_and_words, instructions
from tests.conftest import ROOT

COMMANDS = (ROOT / "Dockerfile").read_text().splitlines()
LOCKS = sorted((ROOT / "image").glob("*.lock"))


def steps(*words: str) -> list[Instruction]:
    return [step for step in instructions(COMMANDS) if step.word in words]


def test_modals_builder_takes_it():
    assert check(ROOT / "Dockerfile", ROOT) == []


@pytest.mark.parametrize("word", ["ADD", "SHELL"])
def test_instructions_that_nothing_is_known_about_are_not_used(word: str):
    assert steps(word) == []


def test_copies_have_no_flag_but_the_stage():
    for step in steps("COPY"):
        flags, _ = flags_and_words(step.text)
        assert all(flag.startswith("--from=") for flag in flags), step


def test_bases_and_mounts_need_no_variable():
    assert not any("$" in step.text for step in steps("FROM"))
    assert not any("--mount" in step.text for step in steps("RUN"))


def versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_a_hash(lock: Path):
    entries = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]

    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("name", ["torch-cu128", "torch-cu130"])
def test_what_lands_in_one_environment_is_pinned_once(name: str):
    worker, comfyui, torch = (versions(ROOT / "image" / f"{lock}.lock") for lock in ("worker", "comfyui", name))
    together = worker | comfyui | torch

    for lock in (worker, comfyui, torch):
        assert lock.items() <= together.items()


def test_the_worker_in_the_image_is_the_one_that_is_tested():
    tested = versions(ROOT / "requirements.lock")

    assert versions(ROOT / "image" / "worker.lock").items() <= tested.items()


@pytest.mark.parametrize(
    ("lock", "runtime"), [("torch-cu128", "nvidia-cuda-runtime-cu12"), ("torch-cu130", "nvidia-cuda-runtime")]
)
def test_a_line_is_of_one_cuda(lock: str, runtime: str):
    pinned = versions(ROOT / "image" / f"{lock}.lock")

    assert {"torch", "torchaudio", "torchvision"} <= set(pinned)
    assert pinned[runtime].startswith({"cu128": "12.8.", "cu130": "13.0."}[lock.removeprefix("torch-")])
