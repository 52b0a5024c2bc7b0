"""Every command in README.md and docs/ is run as it stands, or has a reason why it cannot be, or a test of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.docs.commands import DOCUMENTS, ROOT, Command, commands
from tests.docs.elsewhere import TABLE, elsewhere, is_there
from tests.docs.world import World, services, with_project

SECONDS = 300
# A server that a document starts in a terminal of its own.
SERVER = " -m emulators."
# What a command may end with beside 0: 3 is said of work that is left, and the doctor finds that torch is missing here.
ENDS = {"comfyport models": "3", "comfyport doctor": "1 3"}
WAIT = """
wait_for() {
	for _ in $(seq 600); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
		sleep 0.1
	done
	return 1
}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with services(tmp_path_factory.mktemp("services")) as made:
        yield made


@pytest.fixture
def prepared(document: str, served: World, tmp_path: Path) -> Iterator[World]:
    """The world in which a document's reader is: with a Secret on Modal, unless it has the reader make one."""
    makes_one = any(command.text.startswith("modal secret create") for command in commands(document))
    with with_project(served, tmp_path, has_secret=not makes_one) as made:
        yield made


def run_here(document: str) -> list[Command]:
    return [command for command in commands(document) if elsewhere(command) is None]


def script(place: World, listed: list[Command]) -> str:
    """All commands of a document, one shell for them, which says where it is."""
    lines = ["set -Eeuo pipefail", WAIT]
    for command in listed:
        lines.append(f"printf '%s\\n' '@@@@ {command.document}:{command.line}'")
        text = place.here(command.text)
        if SERVER in text:
            lines.append(f"{text} &\nwait_for {text.partition('--port ')[2].split()[0]}")
        else:
            allowed = next((ends for beginning, ends in ENDS.items() if text.startswith(beginning)), "")
            lines.append(f"{{ {text}\n}} || [[ ' {allowed} ' == *\" $? \"* ]]")
    return "\n".join(lines)


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if run_here(name)])
def test_each_command_of_a_document_ends_well(document: str, prepared: World, tmp_path: Path):
    log = tmp_path / "log"
    with log.open("w") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script(prepared, run_here(document))],
            cwd=prepared.folder,
            env=dict(prepared.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)

    assert status == 0, "@@@@" + log.read_text(errors="replace").rpartition("@@@@")[2][-6000:]


def test_what_is_run_elsewhere_is_run_there():
    assert [entry.pattern for entry in TABLE if not is_there(entry)] == []


def test_no_entry_is_left_for_a_command_that_is_gone():
    everything = [command for document in DOCUMENTS for command in commands(document)]

    assert [entry.pattern for entry in TABLE if not any(entry.fits(command) for command in everything)] == []


def test_the_documents_are_all_of_them():
    assert len(DOCUMENTS) > 5
    assert all((ROOT / name).is_file() for name in DOCUMENTS)
