"""scripts/modal-diagnose.sh: goes from the cheap questions to the dear ones, starts nothing, and always ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from emulators.modal import ModalEmulator
from tests.modal_loop.programs import SECRET, container_variables, program, states

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    variables = container_variables(tmp_path_factory.mktemp("image"))
    with ModalEmulator(secrets=SECRET, env=variables) as emulator:
        deployed = program("deploy", emulator, "--no-job")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield emulator


def test_a_deployment_that_works_is_found_to_work(platform: ModalEmulator, tmp_path: Path):
    done = program("diagnose", platform, "--output", tmp_path / "debug.log")

    assert done.returncode == 0, done.stdout + done.stderr
    assert list(states(done))[-5:] == ["app", "door", "logs", "container", "debug log"]
    assert (states(done)["app"], states(done)["door"], states(done)["logs"]) == ("ok", "ok", "ok")
    assert states(done)["debug log"] == "skip"


def test_a_container_is_asked_only_if_one_runs_and_none_is_started(platform: ModalEmulator, tmp_path: Path):
    requests.get(f"{platform.web_url('comfyport', 'api')}/health", timeout=60)

    program("diagnose", platform, "--output", tmp_path / "debug.log")

    assert {container["function"] for container in platform.containers} == {"api"}
    # The emulator does not play the shell; that the question was put is what can be seen here.
    assert "TaskGetCommandRouterAccess" in platform.calls


def test_an_app_that_was_never_deployed_is_told_with_a_debug_log_that_holds_no_token(
    platform: ModalEmulator, tmp_path: Path
):
    log = tmp_path / "debug.log"

    done = program("diagnose", platform, "--output", log, COMFYPORT_MODAL_APP="another")

    assert done.returncode == 1
    assert states(done)["app"] == "FAIL"
    assert done.stdout.splitlines()[-1] == "First: scripts/modal-deploy.sh"
    assert "Sending request" in log.read_text()
    assert platform.environment()["MODAL_TOKEN_SECRET"] not in log.read_text()


def test_errors_in_the_log_are_shown(tmp_path: Path):
    variables = {**container_variables(tmp_path), "BODY_BYTES": "many"}
    with ModalEmulator(secrets=SECRET, env=variables) as platform:
        program("deploy", platform, "--health-timeout", "1", "--no-job")
        done = program("diagnose", platform, "--output", tmp_path / "debug.log")

    assert done.returncode == 1
    assert (states(done)["door"], states(done)["logs"]) == ("FAIL", "FAIL")
    assert "InvalidSetting" in done.stdout


def test_without_a_token_the_account_is_what_it_names(platform: ModalEmulator, tmp_path: Path):
    done = program("diagnose", platform, "--output", tmp_path / "log", MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")

    assert done.returncode == 1
    assert "app" not in states(done)
    assert done.stdout.splitlines()[-1] == "First: modal setup"
