"""scripts/modal-preflight.sh: says what is missing before anything is deployed, and what to do about it."""

import subprocess
from collections.abc import Iterator

import pytest

from emulators.modal import ModalEmulator
from tests.modal_loop.programs import SECRET, advice, program, states


@pytest.fixture(scope="module")
def platform() -> Iterator[ModalEmulator]:
    secrets = {**SECRET, "keyless": {"HF_TOKEN": "hf_a_token"}}
    with ModalEmulator(secrets=secrets, environments=("main", "production")) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def looked(platform: ModalEmulator) -> "subprocess.CompletedProcess[str]":
    return program("preflight", platform)


def test_an_account_with_all_that_is_needed_passes(looked: "subprocess.CompletedProcess[str]"):
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "FAIL" not in looked.stdout
    assert states(looked).keys() >= {"client", "dockerfile", "profile", "token", "environment", "secret", "volume"}


def test_a_volume_that_does_not_exist_yet_is_no_failure(looked: "subprocess.CompletedProcess[str]"):
    assert states(looked)["volume"] == "note"
    assert "modal run --env main modal_entry.py::download_models" in advice(looked)


def test_a_key_that_the_lock_may_need_is_missed(looked: "subprocess.CompletedProcess[str]"):
    assert "comfyport has no HF_TOKEN" in looked.stdout


def test_nothing_is_created_and_no_key_is_shown(platform: ModalEmulator, looked: "subprocess.CompletedProcess[str]"):
    assert "hf_a_token" not in looked.stdout + looked.stderr
    assert not {"AppCreate", "SecretUpdate", "FunctionCreate"} & set(platform.calls)


@pytest.mark.parametrize(
    ("environ", "arguments", "failing", "told"),
    [
        ({"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}, (), "token", "modal setup"),
        ({"MODAL_ENVIRONMENT": ""}, (), "environment", "export MODAL_ENVIRONMENT=main"),
        ({}, ("--env", "staging"), "environment", "modal environment create staging"),
        ({}, ("--env", "production"), "environment", "--production if you mean it"),
        (
            {"COMFYPORT_MODAL_SECRET": "absent"},
            (),
            "secret",
            "modal secret create absent COMFYPORT_API_KEY=choose-one --env main",
        ),
        ({"COMFYPORT_MODAL_SECRET": "keyless"}, (), "secret", "make the Secret anew"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(
    platform: ModalEmulator, environ: dict[str, str], arguments: tuple[str, ...], failing: str, told: str
):
    done = program("preflight", platform, *arguments, **environ)

    assert done.returncode == 1, done.stdout + done.stderr
    assert [name for name, state in states(done).items() if state == "FAIL"] == [failing]
    assert any(told in line for line in advice(done))


def test_without_a_token_nothing_is_asked_of_modal(platform: ModalEmulator):
    before = len(platform.calls)

    done = program("preflight", platform, MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")

    assert states(done)["environment"] == "skip"
    assert len(platform.calls) == before


def test_production_may_be_asked_for(platform: ModalEmulator):
    assert program("preflight", platform, "--env", "production", "--production").returncode == 0


def test_a_setting_that_is_no_such_value_is_a_usage_error(platform: ModalEmulator):
    done = program("preflight", platform, COMFYPORT_MODAL_TIMEOUT="soon")

    assert done.returncode == 2
    assert "COMFYPORT_MODAL_TIMEOUT" in done.stderr
