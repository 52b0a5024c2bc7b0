"""Pins: what is open is filled in, what has moved is moved when asked, and what disagrees is told."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from tenacity import wait_none

from comfyport.models.access import Access
from comfyport.models.lock import Entry
from comfyport.models.pins import Change, Refreshed, recorded, refresh
from comfyport.models.resolve import Resolver
from comfyport.models.volume import Member, Receipt
from emulators.hub import CivitaiFile, CivitaiVersion, HubEmulator, Repo
from tests.conftest import entry

OLD, NEW = b"old weights" * 100, b"new weights" * 200
OLD_SHA256, NEW_SHA256 = (hashlib.sha256(body).hexdigest() for body in (OLD, NEW))
FIRST, SECOND = "1" * 40, "2" * 40


def on_hub(repo: str = "o/r", revision: str = "main", file: str = "a.safetensors") -> dict[str, Any]:
    return {"type": "huggingface", "repo": repo, "revision": revision, "file": file}


def repo(body: bytes, revision: str = FIRST) -> Repo:
    return Repo({"a.safetensors": body, "notes.txt": b"small"}, revision=revision)


def pinned(**fields: Any) -> Entry:
    return entry(**{"size": len(OLD), "sha256": OLD_SHA256, "sources": [on_hub(revision=FIRST)], **fields})


def refreshed(hub: HubEmulator, asked: Entry, *, upgrade: bool = False) -> Refreshed:
    resolver = Resolver(Access(hub.url, "", hub.url, ""), wait=wait_none())
    [result] = refresh([asked], resolver.resolve, upgrade=upgrade)
    return result


def test_an_open_entry_gets_its_commit_size_and_sha256():
    with HubEmulator({"o/r": repo(OLD)}) as hub:
        result = refreshed(hub, entry(sources=[on_hub()]))

    assert result.entry == pinned()
    assert set(result.changes) == {
        Change("size", None, len(OLD)),
        Change("sha256", None, OLD_SHA256),
        Change("sources.0.revision", "main", FIRST),
    }
    assert (result.open, result.problems) == ([], ())


def test_a_pinned_entry_asks_nobody():
    with HubEmulator({"o/r": repo(NEW, SECOND)}) as hub:
        result = refreshed(hub, pinned())

    assert (result.changes, hub.requests) == ((), [])


def test_a_branch_that_has_other_bytes_than_the_lock_is_not_pinned():
    open_branch = pinned(sources=[on_hub()])
    with HubEmulator({"o/r": repo(NEW, SECOND)}) as hub:
        result = refreshed(hub, open_branch)

    assert result.entry == open_branch
    assert "o/r@2222222 has other bytes now" in result.problems[0]
    assert "--upgrade" in result.problems[0]
    assert not result.failed


def test_a_source_that_does_not_answer_keeps_the_others_from_nothing():
    asked = entry(sources=[on_hub("o/gone"), on_hub()])
    with HubEmulator({"o/r": repo(OLD)}) as hub:
        result = refreshed(hub, asked)

    assert (result.entry.sha256, result.entry.sources[0]) == (OLD_SHA256, asked.sources[0])
    assert result.failed
    assert "o/gone" in result.problems[0]


def test_sources_that_disagree_are_told_and_the_first_counts():
    version = CivitaiVersion([CivitaiFile(7, "a.safetensors", NEW)])
    asked = entry(sources=[on_hub(), {"type": "civitai", "version_id": 5}])
    with HubEmulator({"o/r": repo(OLD)}, civitai={5: version}) as hub:
        result = refreshed(hub, asked)

    assert result.entry.sha256 == OLD_SHA256
    assert result.entry.sources[1] == asked.sources[1]
    assert "civitai version 5 file 7 has other bytes" in result.problems[0]


def test_what_a_site_does_not_tell_stays_open():
    with HubEmulator({"o/r": repo(OLD)}) as hub:
        result = refreshed(hub, entry(name="notes.txt", sources=[on_hub(file="notes.txt")]))

    assert (result.entry.size, result.entry.sha256) == (5, None)
    assert result.open == ["no sha256"]


def test_what_the_first_download_has_noted_closes_the_gap():
    half = Refreshed(entry(), entry(size=len(OLD)))
    receipt = Receipt(len(OLD), 0, OLD_SHA256, "https://host/a", 0.0)

    assert recorded(half, receipt).entry == entry(size=len(OLD), sha256=OLD_SHA256)
    assert recorded(half, None) == half
    assert recorded(half, replace(receipt, size=1)) == half
    assert recorded(half, replace(receipt, sha256="")) == half


def test_a_receipt_does_not_change_what_the_lock_says():
    known = Refreshed(pinned(), pinned())

    assert recorded(known, Receipt(len(OLD), 0, NEW_SHA256, "https://host/a", 0.0)) == known


def test_an_archives_size_is_not_taken_from_its_receipt():
    archive = {"format": "zip", "into": "x"}
    open_archive = Refreshed(entry(archive=archive), entry(archive=archive))
    receipt = Receipt(0, 0, OLD_SHA256, "https://host/a", 0.0, members=(Member("x/a", 1, 0),))

    assert recorded(open_archive, receipt).entry == entry(archive=archive, sha256=OLD_SHA256)


def test_an_upgrade_takes_the_newest_bytes_and_their_commit():
    with HubEmulator({"o/r": repo(NEW, SECOND)}) as hub:
        result = refreshed(hub, pinned(), upgrade=True)

    assert result.entry == pinned(size=len(NEW), sha256=NEW_SHA256, sources=[on_hub(revision=SECOND)])


def test_an_upgrade_leaves_a_pin_whose_bytes_are_the_newest():
    with HubEmulator({"o/r": repo(OLD, SECOND)}) as hub:
        result = refreshed(hub, pinned(), upgrade=True)

    assert (result.changes, result.problems) == ((), ())


def test_an_upgrade_follows_the_branch_that_the_lock_names():
    branch = Repo({"a.safetensors": NEW}, revision=SECOND, names=frozenset({"fp8"}))
    with HubEmulator({"o/r": branch}) as hub:
        result = refreshed(hub, pinned(sources=[on_hub(revision="fp8")]), upgrade=True)

    assert result.entry.sha256 == NEW_SHA256


def test_an_upgrade_that_a_second_source_does_not_follow_is_none():
    before = pinned(sources=[on_hub(revision=FIRST), on_hub("o/mirror", FIRST)])
    with HubEmulator({"o/r": repo(NEW, SECOND), "o/mirror": repo(OLD)}) as hub:
        result = refreshed(hub, before, upgrade=True)

    assert result.entry == before
    assert "it stays as it is" in result.problems[0]
    assert not result.failed


def test_an_upgrade_whose_source_is_gone_changes_nothing_and_says_so():
    with HubEmulator() as hub:
        result = refreshed(hub, pinned(), upgrade=True)

    assert (result.entry, result.failed) == (pinned(), True)
    assert "o/r" in result.problems[0]


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_repository_is_asked_once_for_many_entries(upgrade: bool):
    many = [entry(name=f"{number}.safetensors", sources=[on_hub()]) for number in range(20)]
    with HubEmulator({"o/r": repo(OLD)}) as hub:
        results = refresh(many, Resolver(Access(hub.url), wait=wait_none()).resolve, upgrade=upgrade)

    assert {result.entry.sha256 for result in results} == {OLD_SHA256}
    assert len(hub.requests) == 1
