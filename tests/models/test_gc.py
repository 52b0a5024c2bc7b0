"""What is removed when the lock no longer names it, and what never is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comfyport.models import gc, plan
from comfyport.models.lock import Entry
from comfyport.models.volume import Member, Volume
from tests.conftest import entry, write_lock

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
    gc.remove(removal, volume)
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

    removal = collect(volume, entry("unet"), entry("vae"))

    assert removal.bytes == 0
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


def test_a_link_that_the_user_made_inherits_too_after_those_of_the_lock(volume: Volume):
    orphan = place(volume, "checkpoints/old.safetensors", b"shared")
    for path in ("loras/mine.safetensors", "unet/a.safetensors"):
        volume.link(path, orphan)
    volume.write_receipt("unet/a.safetensors", sha256=SHA256, source="the same file")

    removal = collect(volume, entry("unet"))

    assert removal.heirs == {"checkpoints/old.safetensors": ("unet/a.safetensors", "loras/mine.safetensors")}
    assert not volume.file("unet/a.safetensors").is_symlink()
    assert volume.file("loras/mine.safetensors").read_bytes() == b"shared"
    assert collect(volume, entry("unet")).empty


def test_an_heir_is_warm_without_being_read_again(volume: Volume):
    volume.link("unet/a.safetensors", place(volume, "checkpoints/old.safetensors"))
    volume.write_receipt("unet/a.safetensors", sha256=SHA256, source="the same file")

    collect(volume, entry("unet"))

    (action,) = plan.make([entry("unet", sha256=SHA256)], state=volume.state, receipt=volume.receipt).actions
    assert action.kind == "have"


def test_an_orphan_and_the_orphaned_link_to_it_go_together(volume: Volume):
    volume.link("unet/old.safetensors", place(volume, "checkpoints/old.safetensors"))
    volume.write_receipt("unet/old.safetensors", sha256=SHA256, source="the same file")

    removal = collect(volume)

    assert removal.files == ("checkpoints/old.safetensors", "unet/old.safetensors")
    assert not [file for file in volume.models.rglob("*") if not file.is_dir()]


def test_a_link_to_a_cache_goes_and_the_cache_stays(volume: Volume, tmp_path: Path):
    blob = tmp_path / "blob"
    blob.write_bytes(b"cached")
    volume.link("loras/old.safetensors", blob)
    volume.write_receipt("loras/old.safetensors", sha256=SHA256, source="the cache")

    collect(volume)

    assert blob.exists()
    assert not os.path.lexists(volume.file("loras/old.safetensors"))


def test_a_link_whose_target_is_gone_goes(volume: Volume, tmp_path: Path):
    (tmp_path / "blob").write_bytes(b"cached")
    volume.link("loras/old.safetensors", tmp_path / "blob")
    volume.write_receipt("loras/old.safetensors", sha256=SHA256, source="the cache")
    (tmp_path / "blob").unlink()

    collect(volume)

    assert not os.path.lexists(volume.file("loras/old.safetensors"))


def test_a_link_that_the_user_put_in_a_files_place_is_the_users_own(volume: Volume, tmp_path: Path):
    (tmp_path / "own").write_bytes(b"another file altogether")
    managed = place(volume, "loras/a.safetensors")
    managed.unlink()
    managed.symlink_to(tmp_path / "own")

    collect(volume)

    assert managed.read_bytes() == b"another file altogether"


def test_what_lies_behind_a_folder_that_leads_off_the_volume_is_not_touched(volume: Volume, tmp_path: Path):
    place(volume, "loras/old.safetensors")
    (volume.models / "loras").rename(tmp_path / "elsewhere")
    (volume.models / "loras").symlink_to(tmp_path / "elsewhere")

    collect(volume)

    assert (tmp_path / "elsewhere/old.safetensors").exists()


def test_a_receipt_that_nobody_can_read_speaks_of_no_file(volume: Volume):
    own = place(volume, "loras/own.safetensors")
    (volume.receipts / "loras/own.safetensors.json").write_text("{")

    removal = collect(volume)

    assert removal.files == ()
    assert own.exists()


def unpacked(volume: Volume, archive: str, *names: str) -> None:
    members = []
    for name in names:
        status = place(volume, f"insightface/{name}", name.encode(), receipt=False).stat()
        members.append(Member(f"insightface/{name}", status.st_size, status.st_mtime_ns))
    volume.write_receipt(f"insightface/{archive}", sha256=SHA256, source="here", members=tuple(members))


HOW = {"format": "zip", "into": "insightface", "strip": 0}


@pytest.mark.parametrize("shared", ["det.onnx", "DET.onnx"])
def test_what_two_archives_share_stays_for_the_one_that_is_kept(volume: Volume, shared: str):
    unpacked(volume, "old.zip", shared, "old.onnx")
    unpacked(volume, "new.zip", "det.onnx")

    removal = collect(volume, entry("insightface", "new.zip", archive=HOW))

    assert removal.files == ("insightface/old.onnx",)


def test_what_the_user_changed_of_an_unpacked_archive_stays(volume: Volume):
    unpacked(volume, "old.zip", "a.onnx", "b.onnx")
    volume.file("insightface/b.onnx").write_bytes(b"trained further")

    removal = collect(volume)

    assert removal.files == ("insightface/a.onnx",)
    assert volume.file("insightface/b.onnx").read_bytes() == b"trained further"


def test_what_a_dead_process_left_beside_its_target_goes_after_a_day(volume: Volume):
    left, young, own = (
        place(volume, f"loras/{name}", receipt=False)
        for name in (f".a.safetensors.{'0' * 32}", f".b.safetensors.{'1' * 32}", ".own.safetensors")
    )
    for file in (left, own):
        os.utime(file, (1, 1))

    removal = collect(volume)

    assert removal.parts == (left,)
    assert (left.exists(), young.exists(), own.exists()) == (False, True, True)


def test_a_part_that_is_written_to_is_young_however_old_its_folder_is(volume: Volume):
    part = volume.parts / "key.1"
    part.mkdir()
    (part / "data").write_bytes(b"part")
    os.utime(part, (1, 1))

    assert collect(volume).parts == ()


def test_a_part_that_a_download_took_over_after_the_plan_stays_with_it(volume: Volume):
    part = volume.parts / "key.1"
    part.mkdir()
    (part / "data").write_bytes(b"part")
    for path in (part / "data", part):
        os.utime(path, (1, 1))

    removal = gc.plan_removal([], volume)
    part.rename(volume.parts / "key.2")
    gc.remove(removal, volume)

    assert removal.parts == (part,)
    assert (volume.parts / "key.2/data").read_bytes() == b"part"


def test_two_that_collect_at_once_both_end_well(volume: Volume, tmp_path: Path):
    for number in range(40):
        place(volume, f"loras/{number}/a.safetensors")
        part = volume.parts / f"key.{number}"
        part.mkdir()
        os.utime(part, (1, 1))
    lock = write_lock(tmp_path / "lock.json")
    program = [sys.executable, "-m", "comfyport", "models", "gc", "--json"]
    command = [*program, "--lock", str(lock), "--volume", str(volume.root)]

    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0], ended
    assert not [file for file in volume.models.rglob("*") if not file.is_dir()]
    assert [*volume.parts.iterdir()] == []
