"""The lock: what it accepts, what it refuses, and how it says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from comfyport.errors import InvalidLock, UnknownGroup
from comfyport.models import lock

SOURCE = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.safetensors"}
ENTRY = {"directory": "checkpoints", "name": "a.safetensors", "sources": [SOURCE]}


def lock_with(tmp_path: Path, *models: dict[str, Any]) -> Path:
    file = tmp_path / "models.lock.json"
    file.write_text(json.dumps({"version": 1, "models": models}))
    return file


def test_reads_the_lock_that_the_project_ships():
    shipped = lock.load(Path(__file__).parents[2] / "models.lock.json")

    assert [entry.path for entry in shipped.choose(())] == ["checkpoints/v1-5-pruned-emaonly-fp16.safetensors"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sha256": "ABC"}, "models[0] (a.safetensors): sha256: String should match pattern"),
        ({"size": -1}, "models[0] (a.safetensors): size: Input should be greater than or equal to 0"),
        ({"sources": []}, "models[0] (a.safetensors): sources: Tuple should have at least 1 item"),
        ({"colour": "red"}, "models[0] (a.safetensors): colour: Extra inputs are not permitted"),
        ({"directory": "../x"}, "models[0] (a.safetensors): directory: must not contain '..'"),
        ({"directory": "/etc"}, "models[0] (a.safetensors): directory: must be a plain relative path"),
        ({"name": "a\\b"}, "must not contain a backslash"),
        ({"name": "a\0b"}, "a control character"),
        ({"name": "NUL.safetensors"}, "the name of a device"),
        ({"name": ""}, "must be a plain relative path"),
        ({"sources": [{"type": "ftp"}]}, "sources.0: Input tag 'ftp' found"),
        ({"sources": [{"type": "url", "url": "file:///etc/passwd"}]}, "must start with https://"),
        ({"sources": [{"type": "url", "url": "https://me:secret@host/a"}]}, "name a variable with `auth`"),
    ],
)
def test_names_entry_field_and_reason(tmp_path: Path, change: dict[str, Any], problem: str):
    file = lock_with(tmp_path, ENTRY | change)

    with pytest.raises(InvalidLock) as refused:
        lock.load(file)

    assert str(file) in refused.value.message
    assert problem in refused.value.message


def test_refuses_two_entries_for_one_path_whatever_their_case(tmp_path: Path):
    file = lock_with(tmp_path, ENTRY, ENTRY | {"name": "A.safetensors"})

    with pytest.raises(InvalidLock, match="checkpoints/A.safetensors is listed twice"):
        lock.load(file)


@pytest.mark.parametrize(
    ("content", "problem"), [("{", "it is not JSON"), ("[]", "valid dictionary"), ('{"version": 2, "models": []}', "1")]
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: str, problem: str):
    file = tmp_path / "models.lock.json"
    file.write_text(content)

    with pytest.raises(InvalidLock, match=problem):
        lock.load(file)


def test_a_missing_file_says_how_to_name_another(tmp_path: Path):
    with pytest.raises(InvalidLock, match="COMFYPORT_LOCK"):
        lock.load(tmp_path / "none.json")


def test_chooses_by_group(tmp_path: Path):
    file = lock_with(
        tmp_path,
        ENTRY | {"name": "a", "groups": ["default", "x"]},
        ENTRY | {"name": "b", "groups": ["x"]},
        ENTRY | {"name": "c"},
    )
    loaded = lock.load(file)

    assert [entry.name for entry in loaded.choose(())] == ["a"]
    assert [entry.name for entry in loaded.choose(("x",))] == ["a", "b"]


def test_takes_everything_when_no_entry_has_groups(tmp_path: Path):
    loaded = lock.load(lock_with(tmp_path, ENTRY, ENTRY | {"name": "b"}))

    assert len(loaded.choose(())) == 2


def test_an_unknown_group_is_answered_with_the_known_ones(tmp_path: Path):
    loaded = lock.load(lock_with(tmp_path, ENTRY | {"groups": ["flux", "wan"]}))

    with pytest.raises(UnknownGroup, match="flux, wan"):
        loaded.choose(("flx",))
