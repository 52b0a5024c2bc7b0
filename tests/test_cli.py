"""The commands of `comfyport models`, as a person or a script runs them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfyport.status import Board
from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from tests.conftest import Container, write_lock

CONTENT = b"a model" * 1000
Start = Callable[..., Container]


def model(**fields: Any) -> dict[str, Any]:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "0" * 40, "file": "a.bin"}
    pinned = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return {"directory": "checkpoints", "name": "a.bin", "sources": [source], **pinned, **fields}


def run(start: Start, *arguments: str, lock: Path, **environ: str) -> tuple[int, str]:
    container = start("comfyport", "models", *arguments, COMFYPORT_LOCK=str(lock), **environ)
    return container.end(within=30), container.output


def test_plan_sync_verify_and_gc_tell_one_story(start: Start, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())
    with HubEmulator({"owner/name": Repo({"a.bin": CONTENT}, revision="0" * 40)}) as hub:
        before = run(start, "plan", "--json", lock=lock)
        synced = run(start, "sync", "--locked", lock=lock, HF_ENDPOINT=hub.url)
    after = run(start, "plan", "--json", lock=lock)
    verified = run(start, "verify", "--full", lock=lock)
    write_lock(lock)
    orphaned = run(start, "plan", lock=lock)
    removed = run(start, "gc", "--json", lock=lock)

    assert (before[0], json.loads(before[1])["bytes_to_fetch"]) == (3, len(CONTENT))
    assert synced[0] == 0, synced[1]
    assert (after[0], json.loads(after[1])["ok"]) == (0, True)
    assert (verified[0], "1 of 1 models are right" in verified[1]) == (0, True)
    assert "orphaned   checkpoints/a.bin" in orphaned[1]
    assert json.loads(removed[1])["files"] == ["checkpoints/a.bin"]
    assert not (tmp_path / "volume/models/checkpoints/a.bin").exists()


def test_verify_finds_a_damaged_file(start: Start, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())
    file = tmp_path / "volume/models/checkpoints/a.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    run(start, "sync", lock=lock)
    file.write_bytes(CONTENT[:-1])

    status, output = run(start, "verify", "--json", lock=lock)

    assert status == 3
    assert json.loads(output)["problems"][0]["path"] == "checkpoints/a.bin"


def test_locked_refuses_what_is_left_open(start: Start, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", {key: value for key, value in model().items() if key != "sha256"})

    status, output = run(start, "sync", "--locked", lock=lock)

    assert status == 2
    assert "checkpoints/a.bin" in output
    assert "sha256" in output


@pytest.mark.parametrize("command", ["plan", "verify", "sync"])
def test_locked_refuses_a_branch_in_every_command(start: Start, tmp_path: Path, command: str):
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.bin"}
    lock = write_lock(tmp_path / "lock.json", model(sources=[source]))

    status, output = run(start, command, "--locked", "--json", lock=lock)

    assert status == 2
    assert json.loads(output.splitlines()[0])["error"]["code"] == "not_locked"
    assert "checkpoints/a.bin (revision 'main' is no commit)" in output


def test_what_the_board_says_is_wanted_is_brought_next(start: Start, tmp_path: Path):
    contents = {f"{number}.bin": CONTENT * 20 + bytes([number]) for number in range(12)}
    lock = write_lock(
        tmp_path / "lock.json",
        *(
            model(
                name=name,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                sources=[{"type": "huggingface", "repo": "owner/name", "revision": "0" * 40, "file": name}],
            )
            for name, content in contents.items()
        ),
    )
    Board(tmp_path / "run").write("wanted", {"names": ["11.bin"]})
    with HubEmulator({"owner/name": Repo(contents, revision="0" * 40)}, rate=300_000) as hub:
        assert run(start, "sync", lock=lock, HF_ENDPOINT=hub.url, DOWNLOAD_CONNECTIONS="1")[0] == 0

    asked = list(dict.fromkeys(request.path for request in hub.requests if request.role == "hub"))
    assert asked.index("/owner/name/resolve/" + "0" * 40 + "/11.bin") <= 3


def test_a_board_that_cannot_be_written_to_keeps_no_model_away(start: Start, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())
    (tmp_path / "run").write_text("a file where a folder should be")
    with HubEmulator({"owner/name": Repo({"a.bin": CONTENT}, revision="0" * 40)}) as hub:
        status, output = run(start, "sync", lock=lock, HF_ENDPOINT=hub.url)

    assert status == 0, output
    assert output.count("the status board cannot be used") == 1


def test_json_is_one_document_also_for_an_error(start: Start, tmp_path: Path):
    container = start("comfyport", "models", "plan", "--json", COMFYPORT_LOCK=str(tmp_path / "none.json"))

    assert container.end() == 2
    assert json.loads(container.output.splitlines()[0])["error"]["code"] == "invalid_lock"
