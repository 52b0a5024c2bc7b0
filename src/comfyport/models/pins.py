"""Fills in what the entries of a lock leave open, and moves their pins: commit, size and sha256, from metadata alone.

All sources of an entry give the same bytes. One that would give others is told and not pinned: what the lock says of an
entry's bytes is changed by an upgrade only, and then by what the entry's first source has now.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from comfyport.errors import ComfyportError
from comfyport.models.lock import Entry, HuggingFaceSource, Source, left_open
from comfyport.models.resolve import Found
from comfyport.models.sources import called
from comfyport.models.volume import Receipt

LookUp = Callable[[Source], Found]

# The sites are asked for a few KB each; more at once would only be refused.
AT_ONCE = 8
NEWEST = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Change:
    """One field of an entry that is another now; `field` is its place, such as `sources.0.revision`."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Refreshed:
    """An entry after it was looked up.

    `problems` say why something stays open, or a pin where it was; `failed` whether a source gave no answer.
    """

    before: Entry
    entry: Entry
    problems: tuple[str, ...] = ()
    failed: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is different now, field by field."""
        return tuple(_changes("", self.before.model_dump(mode="json"), self.entry.model_dump(mode="json")))

    @property
    def open(self) -> list[str]:
        """What still keeps the entry from saying which bytes it is."""
        return left_open(self.entry)


def refresh(entries: Sequence[Entry], look_up: LookUp, *, upgrade: bool = False) -> list[Refreshed]:
    """Looks up what `entries` leave open, or with `upgrade` what all their sources have now, several at once."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lock") as pool:
        return list(pool.map(lambda entry: _upgraded(entry, look_up) if upgrade else _locked(entry, look_up), entries))


def recorded(result: Refreshed, receipt: Receipt | None) -> Refreshed:
    """`result` with what no site tells and the first download has noted on the volume: the sha256, and the size.

    The size of an archive is not noted. A file of another size than the sites tell now is none that can be pinned.
    """
    entry = result.entry
    if receipt is None or not receipt.sha256 or entry.sha256:
        return result
    size = entry.size if receipt.members else receipt.size
    if entry.size not in (None, size):
        return result
    return replace(result, entry=entry.model_copy(update={"size": size, "sha256": receipt.sha256}))


def _locked(entry: Entry, look_up: LookUp) -> Refreshed:
    """The entry with what its sources tell; what it says of its bytes already stays."""
    if not left_open(entry):
        return Refreshed(entry, entry)
    answers = [_Answer.of(source, source, look_up) for source in entry.sources]
    return _settled(entry, entry.size, entry.sha256, answers, "; `comfyport models lock --upgrade` takes them")


def _upgraded(entry: Entry, look_up: LookUp) -> Refreshed:
    """The entry as its first source that answers has it now; its pins stay where they are while its bytes do."""
    answers = [_Answer.of(source, _newest(source), look_up) for source in entry.sources]
    lead = next((answer.found for answer in answers if answer.found), None)
    if lead is None or _agree(entry.size, entry.sha256, lead):
        refreshed = _locked(entry, look_up)
        problems = refreshed.problems or tuple(answer.problem for answer in answers if answer.problem)
        return replace(refreshed, problems=problems, failed=any(not answer.found for answer in answers))
    refreshed = _settled(entry, lead.size, lead.sha256, answers)
    if refreshed.problems:
        # Half an upgrade would be an entry whose sources give different bytes.
        kept = "it stays as it is, for its sources do not have the same bytes now"
        return Refreshed(entry, entry, (kept, *refreshed.problems), refreshed.failed)
    return refreshed


@dataclass(frozen=True)
class _Answer:
    """What was found out about a source of the lock; `problem` says why nothing was."""

    source: Source
    found: Found | None
    problem: str = ""

    @classmethod
    def of(cls, source: Source, asked: Source, look_up: LookUp) -> "_Answer":
        try:
            return cls(source, look_up(asked))
        except ComfyportError as error:
            return cls(source, None, error.message)


def _settled(
    entry: Entry, size: int | None, sha256: str | None, answers: Sequence[_Answer], advice: str = ""
) -> Refreshed:
    """The entry with these bytes, or as far as they are open the first that are told; sources with others stay.

    `advice` is what is said of those.
    """
    for found in (answer.found for answer in answers if answer.found):
        if _agree(size, sha256, found):
            size, sha256 = size if size is not None else found.size, sha256 or found.sha256
    sources: list[Source] = []
    problems: list[str] = []
    for answer in answers:
        agreed = answer.found is not None and _agree(size, sha256, answer.found)
        sources.append(answer.found.source if answer.found and agreed else answer.source)
        if not agreed:
            problems.append(_other_bytes(answer.found, size, sha256) + advice if answer.found else answer.problem)
    settled = entry.model_copy(update={"size": size, "sha256": sha256, "sources": tuple(sources)})
    return Refreshed(entry, settled, tuple(problems), failed=any(not answer.found for answer in answers))


def _agree(size: int | None, sha256: str | None, found: Found) -> bool:
    """Whether a found file can have these bytes, as far as both are known."""
    sizes_differ = None not in (size, found.size) and size != found.size
    digests_differ = None not in (sha256, found.sha256) and sha256 != found.sha256
    return not sizes_differ and not digests_differ


def _other_bytes(found: Found, size: int | None, sha256: str | None) -> str:
    there = f"the sha256 {found.sha256}" if found.sha256 and sha256 else f"{found.size} bytes"
    here = sha256 if found.sha256 and sha256 else f"{size}"
    return f"{called(found.source)} has other bytes now: {there}, not {here}"


def _newest(source: Source) -> Source:
    """Where a newer file would be: at the newest commit of a repository. A version on Civitai is its own."""
    if isinstance(source, HuggingFaceSource) and _COMMIT.fullmatch(source.revision):
        return source.model_copy(update={"revision": NEWEST})
    return source


def _changes(place: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _changes(f"{place}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(f"{place}.{number}", old, new)
    elif before != after:
        yield Change(place.removeprefix("."), before, after)
