"""What `verify` finds, in a moment and when it reads every byte."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from comfyport.errors import VolumeUnusable
from comfyport.models.events import Event, FileAdvanced, FileFailed, FileReady, FileStarted, Stopped
from comfyport.models.lock import Entry
from comfyport.models.verify import verify
from comfyport.models.volume import Member, Volume
from tests.conftest import entry

LARGE = bytes(4 << 20)
HOW = {"format": "zip", "into": "insightface", "strip": 0}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def place(volume: Volume, path: str, content: bytes) -> Path:
    file = volume.file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def placed(volume: Volume, name: str, content: bytes) -> Entry:
    place(volume, f"checkpoints/{name}", content)
    volume.write_receipt(f"checkpoints/{name}", sha256=sha256(content), source="here")
    return entry(name=name, size=len(content), sha256=sha256(content))


def unpacked(volume: Volume, *contents: bytes, noted: bool = True) -> Entry:
    members = []
    for number, content in enumerate(contents):
        status = place(volume, f"insightface/{number}.onnx", content).stat()
        digest = sha256(content) if noted else ""
        members.append(Member(f"insightface/{number}.onnx", status.st_size, status.st_mtime_ns, digest))
    volume.write_receipt("insightface/a.zip", sha256="a" * 64, source="here", members=tuple(members))
    return entry("insightface", "a.zip", sha256="a" * 64, archive=HOW)


def flip_a_byte(file: Path, at: int = 200 << 10) -> None:
    """Changes a byte where the sample does not look, and keeps size and mtime."""
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def reasons(volume: Volume, *entries: Entry, full: bool = True, events: list[Event] | None = None) -> dict[str, str]:
    told = [] if events is None else events
    return {found.path: reason for found, reason in verify(entries, volume, full=full, observe=told.append)}


def test_a_flipped_byte_in_what_was_unpacked_is_found_when_every_byte_is_read(volume: Volume):
    archive = unpacked(volume, b"right", LARGE)
    flip_a_byte(volume.file("insightface/1.onnx"))

    assert reasons(volume, archive, full=False) == {}
    assert "insightface/1.onnx" in reasons(volume, archive)["insightface/a.zip"]


def test_a_receipt_from_before_members_had_a_digest_is_read_and_said_to_be_checked_less(
    volume: Volume, caplog: pytest.LogCaptureFixture
):
    archive = unpacked(volume, LARGE, noted=False)
    file = volume.receipts / "insightface/a.zip.json"
    content = json.loads(file.read_text())
    for member in content["members"]:
        del member["sha256"]
    file.write_text(json.dumps(content))

    assert reasons(volume, archive) == {}
    assert "its size and time are right" in caplog.text


def test_all_problems_are_told_at_once_each_with_its_reason(volume: Volume):
    right, changed, damaged = (placed(volume, name, LARGE + name.encode()) for name in ("right", "changed", "damaged"))
    missing, own = entry(name="missing"), entry(name="own", size=3)
    place(volume, "checkpoints/own", b"own")
    place(volume, "checkpoints/changed", b"shorter")
    flip_a_byte(volume.file(damaged.path))

    found = reasons(volume, right, changed, damaged, missing, own)

    assert found.keys() == {f"checkpoints/{name}" for name in ("changed", "damaged", "missing", "own")}
    assert "the lock says" in found["checkpoints/changed"]
    assert "its bytes" in found["checkpoints/damaged"]
    assert found["checkpoints/missing"] == "missing"
    assert "no receipt" in found["checkpoints/own"]


def test_reading_every_byte_tells_how_far_it_is(volume: Volume):
    events: list[Event] = []
    right, damaged = placed(volume, "right", LARGE), placed(volume, "damaged", LARGE + b"x")
    flip_a_byte(volume.file(damaged.path))

    reasons(volume, right, damaged, unpacked(volume, b"12", b"345"), events=events)

    assert FileStarted("insightface/a.zip", 5) in events
    assert FileAdvanced("checkpoints/right", len(LARGE)) in events
    assert FileReady("checkpoints/right", len(LARGE)) in events
    assert [event.path for event in events if isinstance(event, FileFailed)] == ["checkpoints/damaged"]


def test_a_file_under_two_names_is_read_once(volume: Volume):
    events: list[Event] = []
    first = placed(volume, "first", LARGE)
    volume.link("unet/second", volume.file(first.path))
    volume.write_receipt("unet/second", sha256=first.sha256 or "", source="the same file")
    second = entry("unet", "second", sha256=first.sha256)

    assert reasons(volume, first, second, events=events) == {}
    assert len({event.path for event in events if isinstance(event, FileAdvanced)}) == 1
    flip_a_byte(volume.file(first.path))
    assert reasons(volume, first, second).keys() == {"checkpoints/first", "unet/second"}


def test_a_file_that_goes_away_while_it_is_looked_at_is_a_problem_and_no_crash(volume: Volume):
    model = placed(volume, "large", LARGE)

    def take_away(event: Event) -> None:
        if isinstance(event, FileStarted):
            volume.file(model.path).unlink()

    assert verify([model], volume, full=True, observe=take_away) == [
        (model, "it cannot be read: no such file or directory")
    ]


def test_a_stop_ends_the_reading(volume: Volume):
    stop = threading.Event()
    stop.set()

    with pytest.raises(Stopped):
        verify([placed(volume, "large", LARGE)], volume, full=True, stop=stop)


def test_a_link_that_leads_to_itself_is_no_file(volume: Volume):
    volume.link("checkpoints/a.safetensors", volume.file("checkpoints/a.safetensors"))

    assert reasons(volume, entry()) == {"checkpoints/a.safetensors": "missing"}


def test_a_disk_that_does_not_answer_is_named(volume: Volume):
    too_long = Volume(volume.root / "/".join(["a" * 200] * 30))

    with pytest.raises(VolumeUnusable, match="COMFYPORT_VOLUME"):
        verify([entry()], too_long, full=False)
