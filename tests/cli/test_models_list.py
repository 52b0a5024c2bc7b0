"""`comfyport models list`, `usage` and `lock`: tables for people, lines and JSON for programs, and exit statuses."""

from pathlib import Path
from typing import Any

import pytest

from emulators.hub import HubEmulator, Repo
from tests.cli.models import BODY, COMMIT, SHA256, TOKEN, entries, models
from tests.conftest import container_environ, write_lock
from tests.terminal import run_on_terminal

REPO = Repo({"a.safetensors": BODY}, revision=COMMIT)
SOURCE = {"type": "huggingface", "repo": "o/r", "revision": "main", "file": "a.safetensors"}
OPEN = {"directory": "vae", "name": "a.safetensors", "groups": ["small"], "sources": [SOURCE]}
LOCKED = OPEN | {"size": len(BODY), "sha256": SHA256, "sources": [SOURCE | {"revision": COMMIT}]}
OTHER = LOCKED | {"directory": "loras", "groups": ["large"], "license": "MIT"}


def lock(folder: Path, *entries: dict[str, Any]) -> Path:
    return write_lock(folder / "models.lock.json", *entries)


def test_list_says_what_is_unknown_and_what_stays_open(tmp_path: Path):
    lock(tmp_path, OPEN, OTHER)

    plain = models(tmp_path, "list")
    listed = models(tmp_path, "list", "--json").json

    assert plain.status == 0, plain.err
    assert "vae/a.safetensors    unknown  missing  small   o/r@main" in plain.out
    assert "1 of 2 models leave something open" in plain.out
    assert [model["size"] for model in listed["models"]] == [None, len(BODY)]
    assert listed["models"][0]["open"] == ["no size", "no sha256", "revision 'main' is no commit"]
    assert listed["models"][1]["license"] == "MIT"
    assert listed["groups"]["small"] == {"files": 1, "have": 0, "bytes": 0, "unknown": 1}


def test_list_shows_one_group_and_knows_no_other(tmp_path: Path):
    lock(tmp_path, OPEN, OTHER)

    small = models(tmp_path, "list", "--group", "small", "--json")
    unknown = models(tmp_path, "list", "--group", "tiny", "--json")

    assert [model["path"] for model in small.json["models"]] == ["vae/a.safetensors"]
    assert (unknown.status, unknown.json["error"]["code"]) == (2, "unknown_group")


def test_usage_shows_files_orphans_and_what_is_free(tmp_path: Path):
    lock(tmp_path, LOCKED, OTHER)
    with HubEmulator({"o/r": REPO}) as hub:
        models(tmp_path, "sync", HF_ENDPOINT=hub.url, MODEL_GROUPS="small,large")
    own = tmp_path / "volume/models/loras/own.safetensors"
    own.write_bytes(b"mine")
    lock(tmp_path, OTHER)

    plain = models(tmp_path, "usage")
    told = models(tmp_path, "usage", "--json").json

    states = {file["path"]: file["state"] for file in told["files"]}
    assert states == {"loras/a.safetensors": "locked", "loras/own.safetensors": "own", "vae/a.safetensors": "orphaned"}
    assert told["bytes"] == len(BODY) + 4
    assert 0 < told["bytes_free"] <= told["bytes_total"]
    assert sorted(told["folders"]) == ["loras", "vae"]
    assert "comfyport models gc" in plain.out
    assert "free of" in plain.out


@pytest.mark.parametrize(
    ("command", "shown"), [("list", "unknown"), ("usage", "in models"), ("lock", "0 of 1 entries would change")]
)
def test_on_a_terminal_there_are_tables_that_fit(tmp_path: Path, command: str, shown: str):
    volume = tmp_path / "volume/models/loras"
    volume.mkdir(parents=True)
    (volume / "own.safetensors").write_bytes(b"mine")
    lock(tmp_path, LOCKED if command == "lock" else OPEN)
    more = ["--dry-run"] if command == "lock" else []

    terminal = run_on_terminal("comfyport", "models", command, *more, environ=container_environ(tmp_path), columns=80)

    assert terminal.status == 0, terminal.output
    assert shown in terminal.last
    assert max(map(len, terminal.last.splitlines())) <= 80
    assert command == "lock" or "───" in terminal.last


def test_lock_fills_in_shows_and_saves(tmp_path: Path):
    file = lock(tmp_path, OPEN, OTHER)
    with HubEmulator({"o/r": REPO}) as hub:
        tried = models(tmp_path, "lock", "--dry-run", "--json", HF_ENDPOINT=hub.url)
        untouched = entries(tmp_path)
        locked = models(tmp_path, "lock", HF_ENDPOINT=hub.url)
        synced = models(tmp_path, "plan", "--locked", "--json", MODEL_GROUPS="small")

    assert tried.status == 3
    assert [change["field"] for change in tried.json["models"][0]["changes"]] == [
        "size",
        "sha256",
        "sources.0.revision",
    ]
    assert untouched == [OPEN, OTHER]
    assert locked.status == 0, locked.err
    assert "1 of 2 entries changed, 0 leave something open" in locked.out
    assert entries(tmp_path) == [LOCKED, OTHER]
    assert synced.status == 3
    assert file.read_text().endswith("}")


def test_lock_is_not_done_while_something_stays_open_that_only_a_download_tells(tmp_path: Path):
    with HubEmulator(files={"a.bin": BODY}) as hub:
        lock(tmp_path, OPEN | {"name": "a.bin", "sources": [{"type": "url", "url": f"{hub.url}/files/a.bin"}]})
        answer = models(tmp_path, "lock", "--json")
        size = entries(tmp_path)[0]["size"]
        models(tmp_path, "sync", MODEL_GROUPS="small")
        after_the_download = models(tmp_path, "lock", "--json")

    assert answer.status == 3
    assert answer.json["ok"] is False
    assert answer.json["models"][0]["open"] == ["no sha256"]
    assert size == len(BODY)
    assert after_the_download.status == 0, after_the_download.err
    assert entries(tmp_path)[0]["sha256"] == SHA256


def test_lock_fails_for_what_is_gone_and_saves_the_rest(tmp_path: Path):
    gone = OPEN | {"directory": "loras", "sources": [SOURCE | {"repo": "o/gone"}]}
    lock(tmp_path, gone, OPEN)
    with HubEmulator({"o/r": REPO}, tokens=[TOKEN]) as hub:
        answer = models(tmp_path, "lock", "--json", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)

    assert answer.status == 1
    assert "o/gone" in answer.json["models"][0]["problems"][0]
    assert entries(tmp_path) == [gone, LOCKED]
    assert TOKEN not in answer.out + answer.err


def test_upgrade_moves_the_pins_of_the_models_that_are_named(tmp_path: Path):
    lock(tmp_path, LOCKED, OTHER)
    newer = Repo({"a.safetensors": b"newer"}, revision="2" * 40)
    with HubEmulator({"o/r": newer}) as hub:
        answer = models(tmp_path, "lock", "--upgrade", "vae/a.safetensors", HF_ENDPOINT=hub.url)
        nonsense = models(tmp_path, "lock", "--upgrade", "vae/none.safetensors", "--json", HF_ENDPOINT=hub.url)

    assert answer.status == 0, answer.err
    assert f"{COMMIT[:12]}…" in answer.out
    assert entries(tmp_path)[0]["sources"][0]["revision"] == "2" * 40
    assert entries(tmp_path)[1] == OTHER
    assert (nonsense.status, nonsense.json["error"]["code"]) == (2, "unknown_model")
