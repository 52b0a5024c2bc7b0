"""A container whose ComfyUI is of no more use takes no more jobs, and ends with everything that it started."""

import time
from pathlib import Path

import pytest

from emulators.modal import ModalEmulator
from tests.serve.modal.deploying import client, deployed, image_environ, job

# Deploying and starting containers, on a machine that may be busy: only a hang takes so long.
pytestmark = pytest.mark.timeout(600)


def wait_for(happened: object, platform: ModalEmulator) -> None:
    """Waits until `happened()`; the test's own limit ends a wait in vain."""
    assert callable(happened)
    while not happened():
        time.sleep(0.05)


def test_a_comfyui_that_dies_under_every_job_is_replaced_with_its_container(tmp_path: Path):
    image = image_environ(tmp_path, COMFYUI_ARGS="--fault crash_during")
    with deployed(image) as platform:
        answers = [job(platform)]
        while "this container takes no more work" not in platform.logs:
            answers.append(job(platform))
        wait_for(lambda: platform.containers[0]["exit_code"] == 0, platform)
        answers.append(job(platform))
        containers = platform.containers

    assert {answer["error_code"] for answer in answers} == {"comfyui_died"}
    assert len(answers) <= 4
    assert len(containers) == 2


def test_a_comfyui_that_never_starts_fails_the_start_of_its_container(tmp_path: Path):
    image = image_environ(tmp_path, COMFYUI_ARGS="--no-such-argument")
    with deployed(image) as platform:
        code = "import modal; modal.Cls.from_name('comfyport', 'ComfyUI')().run.remote({'input': {}})"
        failed = client(platform, "-c", code)

    assert failed.returncode != 0
    assert "--no-such-argument" in failed.stderr


def test_a_container_that_ends_leaves_no_task_behind(tmp_path: Path):
    with deployed(image_environ(tmp_path)) as platform:
        job(platform)
        done = client(platform, "-m", "modal", "app", "stop", "--yes", "comfyport")
        logs, containers = platform.logs, platform.containers

    assert done.returncode == 0, done.stderr
    assert [container["exit_code"] for container in containers] == [0]
    assert "Task was destroyed" not in logs
    assert "Traceback" not in logs
