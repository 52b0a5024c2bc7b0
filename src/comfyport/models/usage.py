"""What lies on the volume: every file below `models/`, whose it is, and what it takes. Reads names and sizes only."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comfyport.models import plan
from comfyport.models.gc import is_stray
from comfyport.models.lock import Entry
from comfyport.models.paths import folded
from comfyport.models.volume import Volume

# locked: the lock names it, or the archive that it was unpacked from. orphaned: comfyport brought it and the lock no
# longer names it. own: somebody else put it there. unfinished: a copy that broke off.
Standing = Literal["locked", "orphaned", "own", "unfinished"]


@dataclass(frozen=True)
class StoredFile:
    """A file below `models/`. A link takes no bytes; `leads_to` is where it leads, as the link says."""

    path: str
    bytes: int
    standing: Standing
    groups: tuple[str, ...] = ()
    leads_to: str = ""

    @property
    def folder(self) -> str:
        """The folder below `models/` that ComfyUI knows it by; empty if it lies beside them."""
        return self.path.partition("/")[0] if "/" in self.path else ""


@dataclass(frozen=True)
class Share:
    """Files and bytes of a folder or a group."""

    name: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Usage:
    """The files by their path; beside them the bytes of downloads under way or broken off, and those of the disk.

    The last two are None where nobody can tell.
    """

    files: tuple[StoredFile, ...]
    parts: int
    free: int | None
    total: int | None

    @property
    def bytes(self) -> int:
        """What the files take together."""
        return sum(file.bytes for file in self.files)

    @property
    def orphaned(self) -> int:
        """Bytes that `comfyport models gc` would free, downloads that broke off apart."""
        return sum(file.bytes for file in self.files if file.standing == "orphaned")

    @property
    def folders(self) -> tuple[Share, ...]:
        """What each folder holds, the largest first."""
        shares = _shares(self.files, lambda file: (file.folder,))
        return tuple(sorted(shares, key=lambda share: (-share.bytes, share.name)))

    @property
    def groups(self) -> tuple[Share, ...]:
        """What lies there of each group of the lock, by name; a file counts in each of its groups."""
        return _shares(self.files, lambda file: file.groups)


def survey(entries: Sequence[Entry], volume: Volume) -> Usage:
    """Looks at everything below `models/`; `entries` are all that the lock names. Raises VolumeUnusable."""
    orphans = {
        folded(path)
        for orphan in plan.orphans(volume.managed(), entries, volume.receipt)
        for path in _noted(orphan, volume)
    }
    groups = {folded(path): entry.groups for entry in entries for path in plan.kept_paths([entry], volume.receipt)}
    files = tuple(_look(path, volume, groups, orphans) for path in sorted(_below(volume.models)))
    free, total = volume.disk() or (None, None)
    return Usage(files, sum(_bytes(volume.parts / path) for path in _below(volume.parts)), free, total)


def _noted(path: str, volume: Volume) -> list[str]:
    """The files that a receipt speaks of."""
    receipt = volume.receipt(path)
    return [member.path for member in receipt.members] if receipt and receipt.members else [path]


def _look(path: str, volume: Volume, groups: Mapping[str, tuple[str, ...]], orphans: Collection[str]) -> StoredFile:
    file, key = volume.file(path), folded(path)
    leads_to = str(file.readlink()) if file.is_symlink() else ""
    standing: Standing = "own"
    if is_stray(file):
        standing = "unfinished"
    elif key in groups:
        standing = "locked"
    elif key in orphans:
        standing = "orphaned"
    return StoredFile(path, _bytes(file), standing, groups.get(key, ()), leads_to)


def _below(top: Path) -> Iterator[str]:
    """The files below a folder by their path; links to folders are not followed, and count as files."""
    for folder, folders, names in os.walk(top):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *linked):
            yield Path(folder, name).relative_to(top).as_posix()


def _bytes(file: Path) -> int:
    """What a file takes; nothing if it is a link, or has gone since it was listed."""
    try:
        return 0 if file.is_symlink() else file.stat().st_size
    except FileNotFoundError:
        return 0


def _shares(files: Sequence[StoredFile], names_of: Callable[[StoredFile], Sequence[str]]) -> tuple[Share, ...]:
    members: dict[str, list[StoredFile]] = {}
    for file in files:
        for name in names_of(file):
            members.setdefault(name, []).append(file)
    return tuple(Share(name, len(part), sum(file.bytes for file in part)) for name, part in sorted(members.items()))
