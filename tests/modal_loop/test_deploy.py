"""scripts/modal-deploy.sh: looks, deploys, waits for the door, sends a job; and says at which step it failed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.modal import ModalEmulator
from tests import workflows
from tests.modal_loop.programs import SECRET, advice, container_variables, program, states

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    variables = container_variables(tmp_path_factory.mktemp("image"))
    with ModalEmulator(secrets=SECRET, env=variables) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def deployed(platform: ModalEmulator) -> "subprocess.CompletedProcess[str]":
    return program("deploy", platform)


def test_a_deployment_ends_with_a_job_that_came_back(
    platform: ModalEmulator, deployed: "subprocess.CompletedProcess[str]"
):
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert f"comfyport is at {platform.web_url('comfyport', 'api')}" in deployed.stdout
    assert {"deploy": "ok", "health": "ok", "job": "ok"}.items() <= states(deployed).items()
    assert "with 1 picture(s)" in deployed.stdout


@pytest.mark.usefixtures("deployed")
def test_what_is_deployed_already_is_tried_with_a_job_of_ones_own_whose_failure_is_told_by_its_code(
    platform: ModalEmulator, tmp_path: Path
):
    job = tmp_path / "workflow.json"
    job.write_text(json.dumps({"1": workflows.node("NoSuchNode")}))

    done = program("deploy", platform, "--no-deploy", "--job", job)

    assert done.returncode == 1
    assert states(done)["job"] == "FAIL"
    assert "docs/errors.md says what to do about workflow_rejected" in advice(done)[-1]
    assert len(platform.deployments) == 1


@pytest.mark.usefixtures("deployed")
def test_a_key_that_is_not_the_secrets_is_told(platform: ModalEmulator):
    done = program("deploy", platform, "--no-deploy", COMFYPORT_API_KEY="another-key")

    assert done.returncode == 1
    assert "Export the COMFYPORT_API_KEY that the Secret holds" in advice(done)[-1]
    assert "another-key" not in done.stdout + done.stderr


def test_without_a_key_it_says_so_before_anything_is_deployed():
    with ModalEmulator(secrets=SECRET) as platform:
        done = program("deploy", platform, COMFYPORT_API_KEY="")

        assert done.returncode == 1
        assert "--no-job" in advice(done)[0]
        assert platform.deployments == []


def test_a_failed_preflight_deploys_nothing():
    with ModalEmulator() as platform:
        done = program("deploy", platform)

        assert done.returncode == 1
        assert states(done)["secret"] == "FAIL"
        assert platform.deployments == []


def test_a_deploy_that_modal_refuses_shows_its_reason():
    with ModalEmulator(secrets=SECRET) as platform:
        done = program("deploy", platform, "--no-job", COMFYPORT_MODAL_GPU="RTX-9999")

    assert done.returncode == 1
    assert states(done)["deploy"] == "FAIL"
    assert "'RTX-9999' is not a GPU type" in done.stdout


def test_a_deploy_that_hangs_is_ended():
    with ModalEmulator(secrets=SECRET) as platform:
        done = program("deploy", platform, "--deploy-timeout", "0.2")

    assert done.returncode == 1
    assert "it did not end in time" in done.stdout
