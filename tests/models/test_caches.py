"""Caches that are there already: as huggingface_hub makes them, and as platforms mount them."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, hf_hub_download

from comfyport.models.caches import find, hubs
from comfyport.models.lock import Entry
from emulators.hub import HubEmulator
from emulators.hub.shelves import DEFAULT_REVISION, Repo
from tests.conftest import entry

BODY, SMALL = b"weights" * 1000, b'{"small": true}'
SHA256 = hashlib.sha256(BODY).hexdigest()


def pinned(body: bytes = BODY, file: str = "unet/a.safetensors", repo: str = "Owner/Name", **fields: Any) -> Entry:
    source = {"type": "huggingface", "repo": repo, "revision": DEFAULT_REVISION, "file": file}
    known = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "sources": [source]}
    return entry(**{**known, **fields})


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """An empty cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    return folder


def cached(hub: Path, name: str = SHA256, body: bytes = BODY, repo: str = "models--Owner--Name") -> Path:
    """A blob in a cache."""
    blob = hub / repo / "blobs" / name
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(body)
    return blob


def in_snapshot(hub: Path, leads_to: str | bytes, revision: str = DEFAULT_REVISION) -> Path:
    """A file at a commit: a link to a blob, or a plain file."""
    file = hub / "models--Owner--Name" / "snapshots" / revision / "unet" / "a.safetensors"
    file.parent.mkdir(parents=True)
    if isinstance(leads_to, str):
        file.symlink_to(Path("../../../blobs", leads_to))
    else:
        file.write_bytes(leads_to)
    return file


def downloaded(hub: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> None:
    """Lets huggingface_hub itself fill a cache."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with HubEmulator({"Owner/Name": Repo({"unet/a.safetensors": BODY, "config.json": SMALL})}) as emulator:
        for file in files:
            hf_hub_download("Owner/Name", file, cache_dir=hub, endpoint=emulator.url, token=False)


def test_a_file_that_huggingface_hub_has_fetched_is_found_by_its_digest(hub: Path, monkeypatch: pytest.MonkeyPatch):
    downloaded(hub, monkeypatch, "unet/a.safetensors")

    file = find(pinned(), [hub])

    assert file == hub / "models--Owner--Name" / "blobs" / SHA256
    assert file.read_bytes() == BODY


@pytest.mark.parametrize("sha256", [None, hashlib.sha256(SMALL).hexdigest()])
def test_a_small_file_that_git_keeps_is_found_by_its_commit(
    hub: Path, monkeypatch: pytest.MonkeyPatch, sha256: str | None
):
    downloaded(hub, monkeypatch, "config.json")

    file = find(pinned(SMALL, "config.json", sha256=sha256), [hub])

    assert file
    assert not file.is_symlink()
    assert file.read_bytes() == SMALL


def test_a_blob_in_the_store_that_all_repositories_share_is_the_real_file(hub: Path):
    real = hub / "blobs" / "ab" / ("ab" * 32)
    real.parent.mkdir(parents=True)
    real.write_bytes(BODY)
    link = hub / "models--Owner--Name" / "blobs" / SHA256
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(real, link.parent))

    assert find(pinned(), [hub]) == real


def test_folders_in_lower_case_are_the_same_repository(hub: Path):
    blob = cached(hub, "some-etag", repo="models--owner--name")
    snapshot = hub / "models--owner--name" / "snapshots" / DEFAULT_REVISION / "unet"
    snapshot.mkdir(parents=True)
    (snapshot / "a.safetensors").symlink_to("../../../blobs/some-etag")

    assert find(pinned(sha256=None), [hub]) == blob


def test_a_blob_of_another_repository_is_as_good(hub: Path):
    blob = cached(hub, repo="models--some--fork")

    assert find(pinned(), [hub]) == blob


def test_the_repository_that_the_lock_names_comes_first(hub: Path):
    cached(hub, repo="models--a--fork")
    blob = cached(hub)

    assert find(pinned(), [hub]) == blob


def test_an_entry_from_elsewhere_is_found_by_its_digest(hub: Path):
    blob = cached(hub)

    assert find(entry(size=len(BODY), sha256=SHA256), [hub]) == blob


def test_the_next_cache_is_looked_into(hub: Path, tmp_path: Path):
    blob = cached(hub)

    assert find(pinned(), [tmp_path / "gone", hub]) == blob


def test_a_plain_file_at_the_pinned_commit_is_found(hub: Path):
    file = in_snapshot(hub, BODY)

    assert find(pinned(), [hub]) == file


def test_a_file_of_another_size_is_not_taken(hub: Path):
    cached(hub, body=BODY[:-1])
    in_snapshot(hub, BODY[:-1])

    assert find(pinned(), [hub]) is None


def test_a_download_under_way_is_not_taken(hub: Path):
    cached(hub, f"{SHA256}.incomplete")

    assert find(pinned(), [hub]) is None


def test_a_file_at_another_commit_is_not_taken(hub: Path):
    in_snapshot(hub, BODY, revision="f" * 40)

    assert find(pinned(), [hub]) is None


def test_a_branch_is_no_pin(hub: Path):
    in_snapshot(hub, BODY, revision="main")
    source = {"type": "huggingface", "repo": "Owner/Name", "revision": "main", "file": "unet/a.safetensors"}

    assert find(pinned(sources=[source]), [hub]) is None


def test_a_blob_with_another_digest_is_not_taken_for_its_size(hub: Path):
    cached(hub, "0" * 64)
    in_snapshot(hub, "0" * 64)

    assert find(pinned(), [hub]) is None


def test_nothing_is_taken_for_its_commit_alone_when_its_size_is_not_known(hub: Path):
    in_snapshot(hub, BODY)

    assert find(pinned(size=None, sha256=None), [hub]) is None


def test_a_digest_is_enough_when_the_size_is_not_known(hub: Path):
    blob = cached(hub)

    assert find(pinned(size=None), [hub]) == blob
    blob.write_bytes(b"")
    assert find(pinned(size=None), [hub]) is None


def test_links_that_lead_nowhere_or_in_a_circle_are_not_taken(hub: Path):
    in_snapshot(hub, "gone")
    link = hub / "models--Owner--Name" / "blobs" / SHA256
    link.parent.mkdir(parents=True)
    link.symlink_to(SHA256)

    assert find(pinned(), [hub]) is None


def test_the_caches_that_exist_are_named_once(tmp_path: Path):
    mounted, own = tmp_path / "volume" / "huggingface-cache", tmp_path / "home"
    (mounted / "hub").mkdir(parents=True)

    assert hubs(tmp_path / "volume", None) == (mounted / "hub",)
    assert hubs(tmp_path / "volume", mounted) == (mounted / "hub",)
    assert hubs(tmp_path / "volume", own) == (mounted / "hub",)
    (own / "hub").mkdir(parents=True)
    assert hubs(tmp_path / "volume", own) == (mounted / "hub", own / "hub")
    assert hubs(tmp_path / "none", None) == ()
