"""Puts an entry into a lock: as a new one, or as one more source of the entry that has its path and its bytes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from comfyport.errors import InvalidLock, ModelListed, UsageError
from comfyport.models.lock import DEFAULT_GROUP, Archive, Entry, HuggingFaceSource, Source
from comfyport.models.lock_file import LockFile, as_json
from comfyport.models.paths import folded
from comfyport.models.sources import called

if TYPE_CHECKING:
    from comfyport.models.resolve import Found


@dataclass(frozen=True)
class Addition:
    """What became of an entry: it is new, one more source of another, or was there; `file` is the lock with it."""

    file: LockFile
    entry: Entry
    how: Literal["added", "source added", "there already"]


@dataclass(frozen=True)
class Place:
    """Where a file shall lie, and what a person says of it; what is empty is left to the site."""

    directory: str = ""
    name: str = ""
    groups: tuple[str, ...] = ()
    sha256: str = ""
    archive: Archive | None = None

    @classmethod
    def of(
        cls,
        directory: str,
        name: str,
        groups: Sequence[str] | None,
        *,
        sha256: str,
        archive: str,
        into: str,
        strip: int,
    ) -> "Place":
        """What the options of a command say. Raises UsageError."""
        if not archive and (into or strip):
            raise UsageError("--into and --strip are for archives: say which with --archive zip or --archive tar.")
        unpacked = _archive(archive, into, strip) if archive else None
        if unpacked and not directory:
            # The archive itself is not kept; this is where its receipt lies.
            directory = unpacked.into.rpartition("/")[0] or unpacked.into
        return cls(directory, name, tuple(dict.fromkeys(groups or ())), sha256.lower(), unpacked)

    def entry(self, found: "Found") -> Entry:
        """The entry for a file that was found. Raises UsageError."""
        if self.sha256 and found.sha256 and self.sha256 != found.sha256:
            raise UsageError(
                f"{called(found.source)} has the sha256 {found.sha256}, not the one of --sha256. Nothing was added."
            )
        told = replace(found, sha256=found.sha256 or self.sha256 or None)
        return told.entry(self.directory, self.name, self.groups).model_copy(update={"archive": self.archive})


def add(file: LockFile, entry: Entry) -> Addition:
    """The lock with one more entry at its end, or with more sources and groups of the one that is there.

    A new entry without groups goes into `default` where others have groups: nobody would fetch it else.
    Raises ModelListed if another file, or one that may be another, is at that path, and UsageError if the lock would
    not be a lock any more.
    """
    paths = [folded(there.path) for there in file.lock.models]
    if folded(entry.path) not in paths:
        if file.lock.groups and not entry.groups:
            entry = entry.model_copy(update={"groups": (DEFAULT_GROUP,)})
        return Addition(_extended(file, entry), entry, "added")
    place = paths.index(folded(entry.path))
    there = file.lock.models[place]
    merged = _merged(there, entry)
    if merged == there:
        return Addition(file, there, "there already")
    return Addition(file.replacing([merged]), merged, "source added")


def remove(file: LockFile, entries: Collection[Entry]) -> LockFile:
    """The lock without these entries. Their files stay on the volume until `gc` removes them."""
    gone = {entry.path for entry in entries}
    kept = [model for model, entry in zip(file.models, file.lock.models, strict=True) if entry.path not in gone]
    return file.holding(kept)


def _archive(kind: str, into: str, strip: int) -> Archive:
    try:
        return Archive.model_validate({"format": kind, "into": into, "strip": strip})
    except ValidationError as error:
        first = error.errors()[0]
        option = {"format": "--archive", "into": "--into", "strip": "--strip"}[str(first["loc"][0])]
        raise UsageError(f"{option} {first['msg'].removeprefix('Value error, ').lower()}.") from None


def _merged(there: Entry, new: Entry) -> Entry:
    """One entry that has the sources and groups of both."""
    if new.archive not in (None, there.archive):
        raise ModelListed(there.path, "which is unpacked in another way")
    more = [source for source in new.sources if not any(_is_same_file(source, known) for known in there.sources)]
    if more and (there.sha256 is None or new.sha256 is None):
        reason = "and it is not known whether it is the same file: `comfyport models lock` may find out"
        raise ModelListed(there.path, reason)
    if there.sha256 and new.sha256 and there.sha256 != new.sha256:
        raise ModelListed(there.path, f"with other bytes (sha256 {there.sha256})")
    return there.model_copy(
        update={
            "size": new.size if there.size is None else there.size,
            "sha256": there.sha256 or new.sha256,
            "groups": tuple(dict.fromkeys([*there.groups, *new.groups])),
            "sources": (*there.sources, *more),
        }
    )


def _is_same_file(one: Source, other: Source) -> bool:
    """Whether two sources name one file of one place, perhaps at two commits."""
    if isinstance(one, HuggingFaceSource) and isinstance(other, HuggingFaceSource):
        return (one.repo, one.file) == (other.repo, other.file)
    return one == other


def _extended(file: LockFile, entry: Entry) -> LockFile:
    try:
        return file.holding([*file.models, as_json(entry)])
    except InvalidLock as error:
        raise UsageError(f"This cannot stand in the lock: {'; '.join(error.details['problems'])}.") from None
