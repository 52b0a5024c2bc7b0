"""A lock on the disk: written whole or not at all, and never over what somebody else wrote."""

import os
from pathlib import Path

import pytest

from comfyport.errors import InvalidLock, LockNotSaved
from comfyport.models.lock_file import LockFile, as_json
from tests.conftest import entry, write_lock

MODEL = as_json(entry())


def test_saving_keeps_mode_and_links_and_leaves_nothing_beside(tmp_path: Path):
    real = write_lock(tmp_path / "real.json")
    real.chmod(0o640)
    link = tmp_path / "models.lock.json"
    link.symlink_to(real.name)

    LockFile.open(link).holding([MODEL]).save()

    assert link.is_symlink()
    assert LockFile.open(real).models == [MODEL]
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["models.lock.json", "real.json"]


def test_what_says_nothing_new_is_not_written(tmp_path: Path):
    lock = write_lock(tmp_path / "models.lock.json")
    before = lock.stat().st_ino

    LockFile.open(lock).holding([]).save()

    assert lock.stat().st_ino == before


def test_a_change_of_another_program_is_not_overwritten(tmp_path: Path):
    lock = write_lock(tmp_path / "models.lock.json")
    opened = LockFile.open(lock).holding([MODEL])
    write_lock(lock, as_json(entry("loras", "b")))

    with pytest.raises(LockNotSaved, match="another program changed it"):
        opened.save()

    assert [there.path for there in LockFile.open(lock).lock.models] == ["loras/b"]


def test_a_file_that_came_to_be_meanwhile_is_not_overwritten(tmp_path: Path):
    begun = LockFile.open_or_new(tmp_path / "models.lock.json").holding([MODEL])
    lock = write_lock(tmp_path / "models.lock.json")

    with pytest.raises(LockNotSaved, match="another program changed it"):
        begun.save()

    assert LockFile.open(lock).models == []


def test_a_folder_that_is_gone_is_told(tmp_path: Path):
    with pytest.raises(InvalidLock, match="its folder does not exist"):
        LockFile.open_or_new(tmp_path / "none" / "models.lock.json")


def test_line_ends_stay_as_they_are(tmp_path: Path):
    lock = tmp_path / "models.lock.json"
    lock.write_bytes(b'{\r\n\t"version": 1,\r\n\t"models": []\r\n}\r\n')

    LockFile.open(lock).holding([MODEL]).save()

    assert lock.read_bytes().count(b"\r\n") == lock.read_bytes().count(b"\n") > 4


def test_an_entry_that_breaks_the_format_is_refused_before_it_is_written(tmp_path: Path):
    lock = write_lock(tmp_path / "models.lock.json")

    with pytest.raises(InvalidLock, match="models\\[0\\] \\(a.safetensors\\)"):
        LockFile.open(lock).holding([MODEL | {"size": -1}])


def test_the_shipped_lock_is_written_as_the_commands_write_it():
    shipped = LockFile.open(Path(__file__).parents[2] / "models.lock.json")

    assert shipped.models == [as_json(there) for there in shipped.lock.models]
    assert shipped.replacing(shipped.lock.models).text == shipped.text
    assert os.fspath(shipped.file).endswith("models.lock.json")
