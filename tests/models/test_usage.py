"""What lies on the volume: whose each file is, and what it takes."""

from pathlib import Path

from comfyport.models.usage import Share, StoredFile, survey
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


def test_tells_the_locks_files_from_orphans_and_the_users_own(volume: Volume):
    place(volume, "checkpoints/a.safetensors")
    place(volume, "loras/style/old.safetensors", b"old")
    place(volume, "loras/own.safetensors", b"mine", receipt=False)
    place(volume, f"loras/.own.safetensors.{'0' * 32}", b"half a copy", receipt=False)

    found = survey([entry(groups=["g"])], volume)

    assert found.files == (
        StoredFile("checkpoints/a.safetensors", 5, "locked", ("g",)),
        StoredFile(f"loras/.own.safetensors.{'0' * 32}", 11, "unfinished"),
        StoredFile("loras/own.safetensors", 4, "own"),
        StoredFile("loras/style/old.safetensors", 3, "orphaned"),
    )
    assert (found.bytes, found.orphaned) == (23, 3)
    assert found.folders == (Share("loras", 3, 18), Share("checkpoints", 1, 5))
    assert found.groups == (Share("g", 1, 5),)


def test_a_link_takes_nothing_and_says_where_it_leads(volume: Volume):
    target = place(volume, "checkpoints/a.safetensors")
    volume.link("loras/b.safetensors", target)

    found = survey([], volume)

    assert found.files[1] == StoredFile("loras/b.safetensors", 0, "own", (), "../checkpoints/a.safetensors")
    assert found.bytes == 5


def test_links_to_folders_are_not_followed(volume: Volume):
    (volume.models / "loop").symlink_to(volume.models)

    assert [file.path for file in survey([], volume).files] == ["loop"]


def test_what_was_unpacked_belongs_to_its_archive(volume: Volume):
    place(volume, "insightface/models/x/det.onnx", receipt=False)
    member = Member("insightface/models/x/det.onnx", 5, 0)
    volume.write_receipt("insightface/models/x.zip", sha256=SHA256, source="here", members=(member,))
    archive = {"format": "zip", "into": "insightface/models/x"}

    [locked] = survey([entry("insightface/models", "x.zip", groups=["face"], archive=archive)], volume).files
    [orphaned] = survey([], volume).files

    assert (locked.standing, locked.groups) == ("locked", ("face",))
    assert orphaned.standing == "orphaned"


def test_downloads_under_way_are_counted_apart(volume: Volume):
    (volume.parts / "a").mkdir()
    (volume.parts / "a" / "data").write_bytes(b"half")

    found = survey([], volume)

    assert (found.files, found.parts) == ((), 4)


def test_a_volume_that_is_not_there_yet_is_empty(tmp_path: Path):
    found = survey([entry()], Volume(tmp_path / "none" / "volume"))

    assert found.files == ()
    assert 0 < found.free <= found.total
