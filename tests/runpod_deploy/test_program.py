"""scripts/runpod-deploy.py, as a person runs it: what it says, what it costs, and that it keeps secrets."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from emulators.runpod.rest import RestEmulator
from emulators.runpod.rest.resources import GPUS
from scripts.runpod_deploy.costs import estimate
from scripts.runpod_deploy.failure import Failed
from tests.conftest import ROOT
from tests.runpod_deploy.test_deploy import VOLUME, WANTED

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TOKEN = "hf_a_secret_token"


@pytest.fixture
def platform() -> Iterator[RestEmulator]:
    with RestEmulator() as emulator:
        yield emulator


@pytest.fixture
def run(platform: RestEmulator) -> Run:
    def run_program(*arguments: str, key: str = platform.api_key) -> "subprocess.CompletedProcess[str]":
        environ = {"PATH": "/usr/bin:/bin", "RUNPOD_API_KEY": key, "HF_TOKEN": TOKEN}
        program = [sys.executable, ROOT / "scripts" / "runpod-deploy.py", f"--api={platform.url}"]
        return subprocess.run([*program, *arguments], env=environ, capture_output=True, text=True, check=False)

    return run_program


ARGUMENTS = ("--image=you/comfyport:1", "--data-center=EU-RO-1", "--env=HF_TOKEN", "--env=MODEL_GROUPS=flux")


def test_it_says_what_it_did_where_it_is_and_what_it_costs(run: Run):
    first, second = run(*ARGUMENTS), run(*ARGUMENTS)

    assert first.returncode == 0, first.stderr
    assert "endpoint        comfyport            created" in first.stdout
    assert "$1.10 per hour and worker" in first.stdout
    assert "at most $3.30 per hour if all 3 work" in first.stdout
    assert "network volume: $7.00 per month, used or not" in first.stdout
    assert "idle: no GPU is paid for" in first.stdout
    assert "/runsync" in first.stdout
    assert "nothing was changed" in second.stdout


def test_json_is_one_document(run: Run):
    answer = json.loads(run(*ARGUMENTS, "--json", "--dry-run").stdout)

    assert (answer["ok"], answer["dry_run"], answer["changed"]) == (True, True, False)
    assert [step["action"] for step in answer["steps"]] == ["created"] * 3
    assert answer["costs"]["volume_month"] == 7.0


def test_no_secret_is_printed(run: Run, platform: RestEmulator):
    outputs = [run(*ARGUMENTS), run(*ARGUMENTS, "--json"), run(*ARGUMENTS, "--env=HF_TOKEN=hf_another_secret")]
    platform.faults.append("echo")
    outputs.append(run(*ARGUMENTS, "--env=HF_TOKEN=hf_third_secret"))

    shown = "".join(answer.stdout + answer.stderr for answer in outputs)
    assert "env HF_TOKEN" in shown
    for secret in (TOKEN, "hf_another_secret", "hf_third_secret", platform.api_key):
        assert secret not in shown


def test_a_secret_kept_with_runpod_is_referred_to(run: Run, platform: RestEmulator):
    run("--image=a", "--no-volume", "--secret=HF_TOKEN=hf")

    (endpoint,) = platform.account.endpoints.values()
    assert endpoint["env"]["HF_TOKEN"] == "{{ RUNPOD_SECRET_hf }}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image=a",), "--data-center"),
        (("--image=a", "--no-volume", "--env=UNSET"), "UNSET is not set here"),
        (("--image=a", "--no-volume", "--secret=a"), "NAME=SECRET"),
        (("--image=a", "--no-volume", "--env=A B=1"), "no name of a variable"),
        (("--image=a", "--no-volume", "--gpu=ADA_25"), "Choose from: ADA_24, ADA_48_PRO, AMPERE_24"),
        (("--image=a", "--no-volume", "--exclude-gpu=NVIDIA L40"), "They hold: NVIDIA GeForce RTX 4090"),
        (("--image=a", "--no-volume", "--workers-min=4"), "--workers-min"),
    ],
)
def test_what_cannot_be_right_is_told_before_anything_is_made(
    run: Run, platform: RestEmulator, arguments: tuple[str, ...], message: str
):
    answer = run(*arguments)

    assert answer.returncode == 2
    assert message in answer.stderr
    assert platform.changes == []


def test_without_a_key_it_says_which_variable(run: Run):
    answer = run(*ARGUMENTS, key="")

    assert answer.returncode == 2
    assert "Set RUNPOD_API_KEY" in answer.stderr


def test_costs_add_up():
    large = replace(WANTED, volume=replace(VOLUME, size=1500), workers_min=1, gpu_count=2)

    costs = estimate(replace(large, pools=("ADA_24", "ADA_48_PRO")), [*GPUS])

    assert costs.worker_hour == (2.2, 3.8)
    assert costs.volume_month == pytest.approx(1000 * 0.07 + 500 * 0.05)
    assert any("1 workers are always on, $1606 to $2774 per month" in line for line in costs.lines())


def test_a_pool_without_a_price_is_not_given_one():
    gpus = [{**GPUS[0], "price": {"secure": 1.0, "community": 1.0}}]

    assert estimate(WANTED, gpus).worker_hour is None
    with pytest.raises(Failed, match="No GPU type is left"):
        estimate(replace(WANTED, excluded_types=(GPUS[0]["id"],)), gpus)
