"""scripts/modal-diagnose.sh: goes from the cheap questions to the dear ones, starts nothing, and always ends."""

from pathlib import Path

import pytest

from emulators.modal import ModalEmulator
from tests.modal_loop.programs import KEY, SECRET, advice, container_variables, program, states

pytestmark = pytest.mark.timeout(200)


def test_a_deployment_that_works_is_found_to_work_and_no_gpu_is_started(tmp_path: Path):
    with ModalEmulator(secrets=SECRET, env=container_variables(tmp_path)) as platform:
        program("deploy", platform, "--no-job")
        done = program("diagnose", platform, "--output", tmp_path / "debug.log")

    assert done.returncode == 0, done.stdout + done.stderr
    assert list(states(done))[-5:] == ["app", "door", "logs", "container", "debug log"]
    assert [states(done)[name] for name in ("app", "door", "logs", "container")] == ["ok"] * 4
    assert states(done)["debug log"] == "skip"
    assert "COMFYPORT_API_KEY" in done.stdout, "the report of `comfyport doctor`, from within the container"
    assert KEY not in done.stdout
    assert {container["function"] for container in platform.containers} == {"api"}


def test_a_door_that_never_answers_is_given_up_and_the_log_tells_why(tmp_path: Path):
    variables = {**container_variables(tmp_path), "BODY_BYTES": "many"}
    with ModalEmulator(secrets=SECRET, env=variables) as platform:
        deployed = program("deploy", platform, "--health-timeout", "3")
        done = program("diagnose", platform, "--output", tmp_path / "debug.log")

    assert deployed.returncode == 1
    assert (states(deployed)["deploy"], states(deployed)["health"]) == ("ok", "FAIL")
    assert "job" not in states(deployed)
    assert "modal app logs comfyport --env main" in advice(deployed)[-1]
    assert done.returncode == 1
    assert (states(done)["door"], states(done)["logs"]) == ("FAIL", "FAIL")
    assert "InvalidSetting" in done.stdout


def test_an_app_that_was_never_deployed_is_told_with_a_debug_log_that_holds_no_token(tmp_path: Path):
    log = tmp_path / "debug.log"
    with ModalEmulator(secrets=SECRET) as platform:
        done = program("diagnose", platform, "--output", log)

    assert done.returncode == 1
    assert states(done)["app"] == "FAIL"
    assert done.stdout.splitlines()[-1] == "First: scripts/modal-deploy.sh"
    assert "Sending request" in log.read_text()
    assert platform.environment()["MODAL_TOKEN_SECRET"] not in log.read_text()


def test_without_a_token_the_account_is_what_it_names(tmp_path: Path):
    with ModalEmulator(secrets=SECRET) as platform:
        done = program("diagnose", platform, "--output", tmp_path / "log", MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")

    assert done.returncode == 1
    assert "app" not in states(done)
    assert done.stdout.splitlines()[-1] == "First: modal setup"
