"""What the real client's commands show of a running App: its state, its containers, its logs, a program beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.modal import ModalEmulator
from tests.emulators.modal_cli import SECRETS, ask, modal, write_project


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    """The sample App, deployed, and one of its containers up."""
    with ModalEmulator(secrets=SECRETS, environments=("main", "dev")) as emulator:
        done = modal(emulator, "deploy", write_project(tmp_path_factory.mktemp("project")))
        assert done.returncode == 0, done.stdout + done.stderr
        ask(emulator, "answer = modal.Cls.from_name('sample', 'Worker')().add.remote(1)")
        yield emulator


def shown(platform: ModalEmulator, *command: str) -> list[dict[str, str]]:
    done = modal(platform, *command, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, str]] = json.loads(done.stdout)
    return rows


def test_the_environments_are_listed_and_others_do_not_exist(platform: ModalEmulator, tmp_path: Path):
    refused = modal(platform, "deploy", "--env", "staging", write_project(tmp_path))

    assert [row["name"] for row in shown(platform, "environment", "list")] == ["main", "dev"]
    assert refused.returncode == 1
    assert "'staging' not found" in refused.stdout + refused.stderr


def test_an_app_is_listed_in_its_environment(platform: ModalEmulator):
    (app,) = shown(platform, "app", "list")

    assert (app["description"], app["state"], app["tasks"]) == ("sample", "deployed", "1")
    assert shown(platform, "app", "list", "--env", "dev") == []


def test_a_running_container_is_listed_and_runs_a_program_beside_its_own(platform: ModalEmulator):
    (container,) = shown(platform, "container", "list")
    script = "echo $MODAL_TASK_ID; ls /root; echo to the other stream >&2; test -d /cache && echo mounted"

    done = modal(platform, "container", "exec", "--no-pty", container["container_id"], "--", "sh", "-c", script)

    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert {container["container_id"], "modal_app.py", "to the other stream"} <= set(said)
    assert ("mounted" in said) == platform.isolated


def test_a_container_that_does_not_run_takes_no_program(platform: ModalEmulator):
    done = modal(platform, "container", "exec", "--no-pty", "ta-99", "--", "true")

    assert done.returncode == 1
    assert "No container 'ta-99' runs" in done.stdout + done.stderr


def test_a_program_ends_with_its_container(tmp_path: Path):
    with ModalEmulator(secrets=SECRETS) as platform:
        modal(platform, "deploy", write_project(tmp_path))
        ask(platform, "answer = modal.Cls.from_name('sample', 'Worker')().add.remote(1)")
        (container,) = shown(platform, "container", "list")
        command = [
            "container",
            "exec",
            "--no-pty",
            container["container_id"],
            "--",
            "sh",
            "-c",
            "echo $$; exec sleep 300",
        ]
        client = subprocess.Popen(
            [sys.executable, "-m", "modal", *command],
            env=os.environ | platform.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert client.stdout is not None
        number = int(client.stdout.readline())
        assert b"sleep" in command_line(number)

    client.kill()
    client.communicate()
    assert b"sleep" not in command_line(number)


def command_line(number: int) -> bytes:
    """What a process was started with; empty once it has ended."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_the_last_lines_of_an_apps_log_are_shown(platform: ModalEmulator):
    done = modal(platform, "app", "logs", "sample", "--tail", "5")

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) <= 5
