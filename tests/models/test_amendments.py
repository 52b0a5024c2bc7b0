"""What a volume adds to the lock and takes out of it, until the lock says something newer."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from comfyport.errors import InvalidLock, UnknownGroup
from comfyport.models import amendments
from comfyport.models.lock import Entry, Lock
from comfyport.models.volume import Volume
from tests.conftest import entry, write_lock

A, B = entry(name="a.safetensors"), entry(name="b.safetensors")


def lock(*entries: Entry) -> Lock:
    return Lock(version=1, models=entries)


def paths(entries: Sequence[Entry]) -> list[str]:
    return [found.path for found in entries]


def test_an_added_model_is_in_the_lock(volume: Volume):
    amendments.add(B, lock(A), volume)

    assert amendments.amended(lock(A), volume).models == (A, B)


def test_a_model_that_was_taken_out_is_not(volume: Volume):
    amendments.take_out(A.path, lock(A, B), volume)

    assert amendments.amended(lock(A, B), volume).models == (B,)


def test_an_added_model_takes_the_place_of_the_one_at_its_path(volume: Volume):
    newer = entry(name="a.safetensors", sha256="b" * 64)

    amendments.add(newer, lock(A, B), volume)

    assert amendments.amended(lock(A, B), volume).models == (newer, B)


def test_a_lock_that_says_something_else_by_now_wins(volume: Volume):
    newer = entry(name="a.safetensors", sha256="c" * 64)
    amendments.add(entry(name="a.safetensors", sha256="b" * 64), lock(A), volume)
    amendments.add(B, lock(A), volume)

    assert amendments.amended(lock(newer, B.model_copy(update={"size": 5})), volume).models == (
        newer,
        B.model_copy(update={"size": 5}),
    )


def test_what_was_taken_out_comes_back_when_the_lock_names_it_anew(volume: Volume):
    amendments.take_out(A.path, lock(A), volume)

    assert amendments.amended(lock(A.model_copy(update={"size": 5})), volume).models != ()


def test_an_addition_that_is_taken_out_again_leaves_nothing(volume: Volume):
    amendments.add(B, lock(A), volume)
    amendments.take_out(B.path, lock(A), volume)

    assert amendments.read(volume) == {}
    assert amendments.amended(lock(A), volume).models == (A,)


def test_of_two_spellings_of_one_path_the_later_counts(volume: Volume):
    amendments.add(entry(name="B.safetensors"), lock(), volume)
    amendments.add(B, lock(), volume)

    assert amendments.amended(lock(), volume).models == (B,)


def test_an_amendment_never_names_a_token(volume: Volume):
    source = {"type": "url", "url": "https://example.com/a", "auth": "env:MY_TOKEN"}
    amendments.add(entry(sources=[source]), lock(), volume)

    assert "MY_TOKEN" not in (volume.amendments / "checkpoints/a.safetensors.json").read_text()
    assert len(amendments.amended(lock(), volume).models) == 1


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "not JSON"),
        ('{"over": null}', "Field required"),
        (
            json.dumps({"over": None, "entry": A.model_dump(mode="json") | {"directory": "../../etc"}}),
            "must not contain '..'",
        ),
        (
            json.dumps(
                {
                    "over": None,
                    "entry": entry(
                        sources=[{"type": "url", "url": "https://evil.example/a", "auth": "env:HF_TOKEN"}]
                    ).model_dump(mode="json"),
                }
            ),
            "no source may name a variable",
        ),
    ],
    ids=["broken", "incomplete", "outside", "token"],
)
def test_a_file_that_is_no_amendment_is_named(volume: Volume, document: str, told: str):
    file = volume.amendments / "checkpoints/a.safetensors.json"
    file.parent.mkdir(parents=True)
    file.write_text(document)

    with pytest.raises(InvalidLock, match=told) as caught:
        amendments.amended(lock(), volume)

    assert str(file) in caught.value.message


def test_groups_choose_among_what_was_added(volume: Volume, tmp_path: Path):
    file = write_lock(tmp_path / "models.lock.json", A.model_dump(mode="json") | {"groups": ["sd"]})
    amendments.add(B.model_copy(update={"groups": ("flux",)}), amendments.load(file, volume), volume)

    assert paths(amendments.choose(file, volume, ("flux",))) == [B.path]
    with pytest.raises(UnknownGroup):
        amendments.choose(file, volume, ("wan",))


def test_a_group_that_was_emptied_is_empty_and_no_mistake(volume: Volume, tmp_path: Path):
    file = write_lock(tmp_path / "models.lock.json", A.model_dump(mode="json") | {"groups": ["sd"]})
    amendments.take_out(A.path, amendments.load(file, volume), volume)

    assert amendments.choose(file, volume, ("sd",)) == ()


def test_the_command_line_knows_what_was_added_and_gc_keeps_it(volume: Volume, tmp_path: Path):
    file = write_lock(tmp_path / "models.lock.json", A.model_dump(mode="json"))
    added = volume.file(B.path)
    added.parent.mkdir()
    added.write_bytes(b"b")
    volume.write_receipt(B.path, sha256="b" * 64, source="here")
    amendments.add(B, amendments.load(file, volume), volume)

    planned = run("plan", file, volume, "--json")
    run("gc", file, volume)

    assert [(model["path"], model["action"]) for model in json.loads(planned)["models"]] == [
        (A.path, "missing"),
        (B.path, "have"),
    ]
    assert added.exists()


def test_what_a_modal_volume_says_is_free_is_not_believed(volume: Volume, tmp_path: Path):
    file = write_lock(tmp_path / "models.lock.json", A.model_dump(mode="json") | {"size": 10**18})

    planned = json.loads(run("plan", file, volume, "--json", MODAL_TASK_ID="ta-1"))

    assert planned["bytes_free"] is None
    assert "unknown" in run("plan", file, volume, MODAL_TASK_ID="ta-1")
    assert "does not fit" in run("plan", file, volume)
    assert Volume(volume.root, tells_space=False).free_bytes() is None


def run(command: str, file: Path, volume: Volume, *arguments: str, **environ: str) -> str:
    line = [sys.executable, "-m", "comfyport", "models", command, *arguments]
    settings = {"COMFYPORT_LOCK": str(file), "COMFYPORT_VOLUME": str(volume.root)}
    return subprocess.run(line, env=settings | environ, capture_output=True, text=True, check=False).stdout
