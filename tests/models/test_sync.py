"""A whole download onto a volume: what stands there afterwards, and what is told."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyport.errors import DiskFull, VolumeUnusable
from comfyport.models.access import Access
from comfyport.models.events import Event, FileAdvanced, FileFailed, FileReady
from comfyport.models.lock import Entry
from comfyport.models.sync import Sync, SyncResult
from comfyport.models.verify import verify
from comfyport.models.volume import Volume
from emulators.hub import HubEmulator
from emulators.hub.faults import Fault
from emulators.hub.shelves import Repo
from tests.conftest import TINY_CHECKPOINT, entry

A, B = b"model a" * 1000, b"model b" * 2000


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator(
        {"owner/name": Repo({"a.safetensors": A, "b.safetensors": B, "tiny.safetensors": TINY_CHECKPOINT})}
    ) as emulator:
        yield emulator


def pinned(name: str, content: bytes, **fields: Any) -> Entry:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": name}
    return entry(
        name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest(), **({"sources": [source]} | fields)
    )


def sync(hub: HubEmulator, volume: Volume, *entries: Entry, events: list[Event] | None = None) -> SyncResult:
    told = events if events is not None else []
    return Sync(entries, volume, Access(hf_endpoint=hub.url), observe=told.append).run()


def files_of(volume: Volume) -> set[str]:
    return {path.relative_to(volume.models).as_posix() for path in volume.models.rglob("*") if path.is_file()}


def test_brings_what_is_missing(hub: HubEmulator, volume: Volume):
    result = sync(hub, volume, pinned("a.safetensors", A), pinned("b.safetensors", B))

    assert result.ok
    assert [model.state for model in result.models] == ["downloaded", "downloaded"]
    assert volume.file("checkpoints/a.safetensors").read_bytes() == A
    assert volume.file("checkpoints/b.safetensors").read_bytes() == B
    assert list(volume.parts.iterdir()) == []


def test_a_second_run_asks_nobody(hub: HubEmulator, volume: Volume):
    sync(hub, volume, pinned("a.safetensors", A))
    asked = len(hub.requests)

    result = sync(hub, volume, pinned("a.safetensors", A))

    assert [model.state for model in result.models] == ["ready"]
    assert len(hub.requests) == asked


def test_one_file_that_fails_does_not_keep_the_others(hub: HubEmulator, volume: Volume):
    events: list[Event] = []

    result = sync(hub, volume, pinned("none.safetensors", A), pinned("b.safetensors", B), events=events)

    assert not result.ok
    assert [model.state for model in result.models] == ["failed", "downloaded"]
    assert files_of(volume) == {"checkpoints/b.safetensors"}
    assert {type(event) for event in events} >= {FileFailed, FileReady}


def test_wrong_bytes_never_reach_the_final_path(volume: Volume):
    repo = Repo({"a.safetensors": A})
    with HubEmulator({"owner/name": repo}, faults=[Fault("flip_bit", times="always")]) as hub:
        result = sync(hub, volume, pinned("a.safetensors", A))

    assert result.models[0].error is not None
    assert result.models[0].error.code == "wrong_digest"
    assert files_of(volume) == set()
    assert list(volume.parts.iterdir()) == []


def test_the_next_source_is_asked_when_one_fails(hub: HubEmulator, volume: Volume):
    good = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.safetensors"}

    result = sync(hub, volume, pinned("a.safetensors", A, sources=[good | {"repo": "owner/gone"}, good]))

    assert result.models[0].state == "downloaded"


def test_a_file_that_the_user_put_there_is_adopted_if_it_is_right(hub: HubEmulator, volume: Volume):
    file = volume.file("checkpoints/a.safetensors")
    file.parent.mkdir()
    file.write_bytes(A)

    result = sync(hub, volume, pinned("a.safetensors", A))

    assert result.models[0].state == "ready"
    assert hub.requests == []


def test_a_damaged_file_is_replaced(hub: HubEmulator, volume: Volume):
    sync(hub, volume, pinned("a.safetensors", A))
    volume.file("checkpoints/a.safetensors").write_bytes(A[:-1] + b"x")

    result = sync(hub, volume, pinned("a.safetensors", A))

    assert result.models[0].state == "downloaded"
    assert volume.file("checkpoints/a.safetensors").read_bytes() == A


def test_an_unpinned_entry_is_checked_against_what_came_first(hub: HubEmulator, volume: Volume):
    unpinned = pinned("tiny.safetensors", TINY_CHECKPOINT).model_copy(update={"size": None, "sha256": None})

    sync(hub, volume, unpinned)

    receipt = volume.receipt("checkpoints/tiny.safetensors")
    assert receipt is not None
    assert receipt.sha256 == hashlib.sha256(TINY_CHECKPOINT).hexdigest()


def test_a_volume_that_is_too_small_is_told_before_the_first_byte(hub: HubEmulator, volume: Volume):
    huge = pinned("a.safetensors", A).model_copy(update={"size": 1 << 60})

    with pytest.raises(DiskFull, match="MODEL_GROUPS"):
        sync(hub, volume, huge)

    assert hub.requests == []


def test_a_volume_that_is_a_file_is_a_clear_error(hub: HubEmulator, tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(VolumeUnusable, match="COMFYPORT_VOLUME"):
        sync(hub, Volume(tmp_path / "file"), pinned("a.safetensors", A))


def test_an_observer_that_breaks_does_not_break_the_download(hub: HubEmulator, volume: Volume):
    def break_down(event: Event) -> None:
        raise RuntimeError("observer")

    result = Sync([pinned("a.safetensors", A)], volume, Access(hf_endpoint=hub.url), observe=break_down).run()

    assert result.ok


def test_a_token_variable_that_is_not_set_is_named(hub: HubEmulator, volume: Volume):
    source = {"type": "url", "url": f"{hub.url}/files/a", "auth": "env:MY_TOKEN"}

    result = sync(hub, volume, pinned("a.safetensors", A, sources=[source]))

    assert result.models[0].error is not None
    assert "MY_TOKEN" in result.models[0].error.message


def test_staged_parts_cross_over_to_the_volume(hub: HubEmulator, tmp_path: Path):
    place = Volume(tmp_path / "volume", staging=Path(os.environ.get("XDG_RUNTIME_DIR", "/dev/shm")) / tmp_path.name)

    result = sync(hub, place, pinned("a.safetensors", A))

    place.parts.rmdir()
    assert result.ok
    assert place.file("checkpoints/a.safetensors").read_bytes() == A


def test_verify_finds_what_a_receipt_cannot_see_only_when_it_reads(volume: Volume):
    content = bytes(4 << 20)
    with HubEmulator({"owner/name": Repo({"large.bin": content})}) as hub:
        model = pinned("large.bin", content)
        sync(hub, volume, model)
    file = volume.file(model.path)
    before = file.stat()
    file.write_bytes(content[: 200 << 10] + b"x" + content[(200 << 10) + 1 :])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert verify([model], volume, full=False) == []
    assert [entry.path for entry, _ in verify([model], volume, full=True)] == [model.path]


def test_verify_finds_most_damage_in_a_few_blocks(hub: HubEmulator, volume: Volume):
    model = pinned("a.safetensors", A)
    sync(hub, volume, model)
    file = volume.file(model.path)
    before = file.stat()
    file.write_bytes(A[:-1] + b"x")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert [entry.path for entry, _ in verify([model], volume, full=False)] == [model.path]


def test_the_same_content_twice_is_fetched_once_and_linked(hub: HubEmulator, volume: Volume):
    twin = pinned("a.safetensors", A).model_copy(update={"directory": "unet", "name": "deep/b.safetensors"})

    result = sync(hub, volume, pinned("a.safetensors", A), twin)

    link = volume.file("unet/deep/b.safetensors")
    assert sorted(model.state for model in result.models) == ["downloaded", "linked"]
    assert sum(request.bytes_sent for request in hub.requests) <= len(A) + 1
    assert link.read_bytes() == A
    links = [path for path in (link, volume.file("checkpoints/a.safetensors")) if path.is_symlink()]
    assert [path.readlink().is_absolute() for path in links] == [False]


def test_a_linked_volume_is_warm_and_may_be_mounted_elsewhere(hub: HubEmulator, volume: Volume):
    entries = [pinned("a.safetensors", A), pinned("a.safetensors", A).model_copy(update={"directory": "unet"})]
    sync(hub, volume, *entries)
    moved = Volume(volume.root.rename(volume.root.with_name("moved")))
    asked = len(hub.requests)

    result = sync(hub, moved, *entries)

    assert [model.state for model in result.models] == ["ready", "ready"]
    assert len(hub.requests) == asked


def test_a_cache_that_the_platform_mounted_is_linked_instead_of_downloaded(
    hub: HubEmulator, volume: Volume, tmp_path: Path
):
    digest = hashlib.sha256(A).hexdigest()
    blob = tmp_path / "cache" / "hub" / "models--owner--name" / "blobs" / digest
    blob.parent.mkdir(parents=True)
    blob.write_bytes(A)
    model = pinned("a.safetensors", A)

    result = Sync([model], volume, Access(hf_endpoint=hub.url), hubs=[tmp_path / "cache" / "hub"]).run()

    assert [found.state for found in result.models] == ["linked"]
    assert volume.file(model.path).read_bytes() == A
    assert hub.requests == []


def test_what_a_job_waits_for_comes_next(volume: Volume):
    names = [f"{number}.safetensors" for number in range(12)]
    order: list[str] = []
    with HubEmulator({"owner/name": Repo({name: A + name.encode() for name in names})}) as hub:
        entries = [pinned(name, A + name.encode()) for name in names]
        running = Sync(entries, volume, Access(hf_endpoint=hub.url))

        def note(event: Event) -> None:
            if isinstance(event, FileReady):
                order.append(event.path)
                running.prefer({"11.safetensors"})

        running.observe = note
        running.run()

    assert order.index("checkpoints/11.safetensors") < 6


def test_an_archive_is_unpacked_and_a_second_run_asks_nobody(hub: HubEmulator, volume: Volume):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("antelopev2/det.onnx", b"d" * 100)
        packed.writestr("antelopev2/glint.onnx", b"g" * 200)
    content = buffer.getvalue()
    how = {"format": "zip", "into": "insightface/models/antelopev2", "strip": 1}
    with HubEmulator({"owner/name": Repo({"antelopev2.zip": content})}) as other:
        model = pinned("antelopev2.zip", content, directory="insightface", archive=how)
        first, second = sync(other, volume, model), sync(other, volume, model)
        asked = sum(request.bytes_sent for request in other.requests)

    assert first.models[0].error is None
    assert [first.models[0].state, second.models[0].state] == ["downloaded", "ready"]
    assert volume.file("insightface/models/antelopev2/glint.onnx").read_bytes() == b"g" * 200
    assert not volume.file("insightface/antelopev2.zip").exists()
    assert asked <= len(content) + 1


def test_an_archive_whose_file_was_deleted_is_fetched_again(volume: Volume):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("det.onnx", b"d" * 100)
    content = buffer.getvalue()
    how = {"format": "zip", "into": "insightface", "strip": 0}
    with HubEmulator({"owner/name": Repo({"a.zip": content})}) as hub:
        model = pinned("a.zip", content, directory="insightface", archive=how)
        sync(hub, volume, model)
        volume.file("insightface/det.onnx").unlink()

        result = sync(hub, volume, model)

    assert result.models[0].state == "downloaded"
    assert volume.file("insightface/det.onnx").exists()


def test_a_folder_that_leads_off_the_volume_is_not_followed(hub: HubEmulator, volume: Volume, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (volume.models / "checkpoints").symlink_to(tmp_path / "elsewhere")

    result = sync(hub, volume, pinned("a.safetensors", A))

    assert result.models[0].error is not None
    assert "leads off the volume" in result.models[0].error.message
    assert list((tmp_path / "elsewhere").iterdir()) == []


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in members.items():
            packed.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def test_a_folder_in_an_archive_that_leads_off_the_volume_is_not_followed(volume: Volume, tmp_path: Path):
    content = zipped(a=b"a", sub__det=b"det")
    (tmp_path / "elsewhere").mkdir()
    (volume.models / "insightface").mkdir()
    (volume.models / "insightface/sub").symlink_to(tmp_path / "elsewhere")
    with HubEmulator({"owner/name": Repo({"a.zip": content})}) as hub:
        how = {"format": "zip", "into": "insightface"}
        result = sync(hub, volume, pinned("a.zip", content, archive=how))

    assert result.models[0].error is not None
    assert "leads off the volume" in result.models[0].error.message
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert files_of(volume) == set()


def test_what_was_unpacked_has_a_digest_in_its_receipt(volume: Volume):
    content = zipped(a=A, sub__b=B)
    with HubEmulator({"owner/name": Repo({"a.zip": content})}) as hub:
        sync(hub, volume, pinned("a.zip", content, archive={"format": "zip", "into": "x"}))

    receipt = volume.receipt("checkpoints/a.zip")
    assert receipt is not None
    digests = {member.path: member.sha256 for member in receipt.members}
    assert digests == {"x/a": hashlib.sha256(A).hexdigest(), "x/sub/b": hashlib.sha256(B).hexdigest()}


def test_the_same_content_twice_needs_room_once(hub: HubEmulator, volume: Volume):
    size = int(volume.free_bytes() * 0.6)
    twins = [pinned("a.safetensors", A, directory=name).model_copy(update={"size": size}) for name in ("unet", "vae")]

    result = sync(hub, volume, *twins)

    assert [model.error and model.error.code for model in result.models] == ["wrong_size", "wrong_size"]


def test_a_file_of_the_users_own_is_read_with_progress_and_kept_before_a_cache_is_asked(volume: Volume, tmp_path: Path):
    blob = tmp_path / "hub" / "models--owner--name" / "blobs" / hashlib.sha256(A).hexdigest()
    own = volume.file("checkpoints/a.safetensors")
    for file in (blob, own):
        file.parent.mkdir(parents=True)
        file.write_bytes(A)
    events: list[Event] = []

    Sync([pinned("a.safetensors", A)], volume, Access(), hubs=[tmp_path / "hub"], observe=events.append).run()

    assert not own.is_symlink()
    assert FileAdvanced("checkpoints/a.safetensors", len(A)) in events


def test_a_file_of_the_users_own_that_is_wrong_is_taken_from_the_cache(volume: Volume, tmp_path: Path):
    blob = tmp_path / "hub" / "models--owner--name" / "blobs" / hashlib.sha256(A).hexdigest()
    own = volume.file("checkpoints/a.safetensors")
    for file, content in ((blob, A), (own, bytes(len(A)))):
        file.parent.mkdir(parents=True)
        file.write_bytes(content)

    result = Sync([pinned("a.safetensors", A)], volume, Access(), hubs=[tmp_path / "hub"]).run()

    assert result.models[0].state == "linked"
    assert own.read_bytes() == A
