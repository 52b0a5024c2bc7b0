"""What is removed when the lock no longer names it, and what never is."""

import os
from pathlib import Path

from comfyport.models import gc
from comfyport.models.lock import Entry
from comfyport.models.volume import Member, Volume
from tests.conftest import entry

SHA256 = "a" * 64


def place(volume: Volume, path: str, content: bytes = b"model", *, receipt: bool = True) -> Path:
    file = volume.file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if receipt:
        volume.write_receipt(path, sha256=SHA256, source="here")
    return file


def collect(volume: Volume, *entries: Entry) -> gc.Removal:
    removal = gc.plan_removal(entries, volume)
    gc.remove(removal, entries, volume)
    return removal


def test_a_file_that_the_lock_no_longer_names_goes(volume: Volume):
    kept, orphan = place(volume, "checkpoints/a.safetensors"), place(volume, "loras/deep/old.safetensors", b"old")

    removal = collect(volume, entry())

    assert (removal.files, removal.bytes) == (("loras/deep/old.safetensors",), 3)
    assert kept.exists()
    assert not orphan.exists()
    assert not orphan.parent.exists()
    assert volume.receipt("loras/deep/old.safetensors") is None


def test_planning_removes_nothing(volume: Volume):
    orphan = place(volume, "loras/old.safetensors")

    gc.plan_removal([], volume)

    assert orphan.exists()


def test_a_file_without_a_receipt_is_the_users_own(volume: Volume):
    own = place(volume, "loras/own.safetensors", receipt=False)

    removal = collect(volume)

    assert removal.empty
    assert own.exists()


def test_a_file_that_was_written_to_since_is_the_users_own_now(volume: Volume):
    own = place(volume, "loras/own.safetensors")
    own.write_bytes(b"trained further")

    collect(volume)

    assert own.read_bytes() == b"trained further"
    assert volume.receipt("loras/own.safetensors") is None


def test_a_kept_link_inherits_the_bytes_of_an_orphan(volume: Volume):
    place(volume, "checkpoints/old.safetensors", b"shared")
    for path in ("unet/a.safetensors", "vae/a.safetensors"):
        volume.link(path, volume.file("checkpoints/old.safetensors"))
        volume.write_receipt(path, sha256=SHA256, source="the same file")

    collect(volume, entry("unet"), entry("vae"))

    assert not volume.file("checkpoints/old.safetensors").exists()
    assert [volume.file(f"{name}/a.safetensors").read_bytes() for name in ("unet", "vae")] == [b"shared"] * 2
    assert not volume.file("unet/a.safetensors").is_symlink()


def test_a_link_goes_as_a_link(volume: Volume):
    kept = place(volume, "checkpoints/a.safetensors", b"shared")
    volume.link("unet/old.safetensors", kept)
    volume.write_receipt("unet/old.safetensors", sha256=SHA256, source="the same file")

    removal = collect(volume, entry())

    assert not os.path.lexists(volume.file("unet/old.safetensors"))
    assert kept.read_bytes() == b"shared"
    assert removal.bytes == 0


def test_what_was_unpacked_goes_with_its_archive(volume: Volume):
    file = place(volume, "insightface/det.onnx", receipt=False)
    state = file.stat()
    member = Member("insightface/det.onnx", state.st_size, state.st_mtime_ns)
    volume.write_receipt("insightface/a.zip", sha256=SHA256, source="here", members=(member,))

    kept = gc.plan_removal(
        [entry("insightface", "a.zip", archive={"format": "zip", "into": "insightface", "strip": 0})], volume
    )
    collect(volume)

    assert kept.empty
    assert not file.exists()


def test_parts_and_leases_go_when_they_have_stood_still_for_a_day(volume: Volume):
    old, young = volume.parts / "old.1", volume.parts / "young.1"
    for folder in (old, young):
        folder.mkdir()
        (folder / "data").write_bytes(b"part")
    for path in (old / "data", old):
        os.utime(path, (1, 1))

    removal = collect(volume)

    assert removal.parts == (old,)
    assert not old.exists()
    assert young.exists()
