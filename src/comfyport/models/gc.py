"""Finds and removes what nobody needs any more: managed files that the lock no longer names, and what broke off.

What has no receipt, or was written to since its receipt, is the user's own and is never touched. A link that leads to
an orphan (the same content under two names is stored once) inherits the orphan's bytes, whoever made the link.
"""

import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comfyport.errors import ModelError
from comfyport.models import plan
from comfyport.models.leases import Leases
from comfyport.models.lock import Entry
from comfyport.models.paths import folded, no_links_on_the_way
from comfyport.models.volume import FileState, Receipt, Volume

# Nothing that is alive stands still for so long.
STALE_SECONDS = 24 * 3600.0
# What `volume.py` calls a file that is being written beside its target; no lock can name one.
_BESIDE = re.compile(r"\..+\.[0-9a-f]{32}")


@dataclass(frozen=True)
class Removal:
    """What is removed: files by path below `models/`, receipts of files that are the user's now, parts, leases.

    `heirs` are the links that lead to one of `files`; the first of them gets its bytes. `bytes` is what becomes free.
    """

    files: tuple[str, ...]
    heirs: dict[str, tuple[str, ...]]
    receipts: tuple[str, ...]
    parts: tuple[Path, ...]
    leases: tuple[str, ...]
    bytes: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.files or self.receipts or self.parts or self.leases)


def plan_removal(entries: Sequence[Entry], volume: Volume) -> Removal:
    """What could go, if `entries` are all that the lock names, those of no chosen group included."""
    receipts = plan.orphans(volume.managed(), entries, volume.receipt)
    kept = {folded(path) for path in plan.kept_paths(entries, volume.receipt)}
    files = {file for path in receipts for file in _ours(path, volume) if folded(file) not in kept}
    heirs = _heirs(files, kept, volume)
    parts = tuple(part for part in (*_children(volume.parts), *_strays(volume)) if _is_stale(part))
    leases = Leases(volume.leases, stale_seconds=STALE_SECONDS).remove_stale(dry_run=True)
    freed = [volume.file(path) for path in files - heirs.keys()] + [file for part in parts for file in _below(part)]
    return Removal(tuple(sorted(files)), heirs, receipts, parts, tuple(leases), sum(map(_size, freed)))


def remove(removal: Removal, volume: Volume) -> None:
    """Removes what was planned. Raises OSError."""
    for path in removal.files:
        file = volume.file(path)
        first, *others = removal.heirs.get(path, (None,))
        if first is None:
            file.unlink(missing_ok=True)
        elif file.exists():
            volume.publish(file, first)
            for other in others:
                volume.link(other or "", volume.file(first))
        _remove_empty_folders(file.parent, volume.models)
    for path in removal.receipts:
        volume.drop_receipt(path)
    for part in removal.parts:
        _remove_part(part)
    if removal.leases:
        Leases(volume.leases, stale_seconds=STALE_SECONDS).remove_stale()


def is_stray(file: Path) -> bool:
    """Whether a file is a copy or a link under way to its place beside it, or one that broke off there."""
    return bool(_BESIDE.fullmatch(file.name))


def _ours(path: str, volume: Volume) -> Iterator[str]:
    """Those of the paths that a receipt speaks of where what was put there still stands."""
    receipt = volume.receipt(path)
    for noted, state in _noted(path, receipt).items():
        with suppress(ModelError):
            no_links_on_the_way(volume.root, noted)
            found = volume.state(noted)
            # A link whose target is gone is of no use to anybody.
            if found == state or (found is None and volume.file(noted).is_symlink()):
                yield noted


def _noted(path: str, receipt: Receipt | None) -> dict[str, FileState]:
    """What a receipt says of its own path, or of what was unpacked."""
    if receipt is None:
        return {}
    if receipt.members:
        return {member.path: FileState(member.size, member.mtime_ns) for member in receipt.members}
    return {path: FileState(receipt.size, receipt.mtime_ns)}


def _heirs(files: set[str], kept: set[str], volume: Volume) -> dict[str, tuple[str, ...]]:
    """The links below `models/` that stay and lead to one of `files`, by the file; those of the lock come first."""
    real = {os.path.realpath(volume.file(path)): path for path in files if not volume.file(path).is_symlink()}
    heirs: dict[str, list[str]] = {}
    for folder, _, names in os.walk(volume.models) if real else ():
        for link in (Path(folder, name) for name in names):
            path = link.relative_to(volume.models).as_posix()
            orphan = real.get(os.path.realpath(link)) if link.is_symlink() and path not in files else None
            if orphan:
                heirs.setdefault(orphan, []).append(path)
    return {
        orphan: tuple(sorted(paths, key=lambda path: (folded(path) not in kept, path)))
        for orphan, paths in heirs.items()
    }


def _strays(volume: Volume) -> list[Path]:
    """Copies and links that a process left beside their target when it died."""
    return [file for top in (volume.models, volume.receipts) for file in _below(top) if is_stray(file)]


def _is_stale(place: Path) -> bool:
    """Whether nothing was written to `place`, or below it, for long, by the clock of the disk that it is on."""
    probe = place.with_name(f".{uuid.uuid4().hex}.clock")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now - max(file.lstat().st_mtime for file in (place, *_below(place))) > STALE_SECONDS
    except OSError:
        return False


def _remove_part(part: Path) -> None:
    """Removes a part; it gets another name first, so that no download can take it over while it is emptied."""
    aside = part.with_name(f".{uuid.uuid4().hex}.removed")
    with suppress(FileNotFoundError):
        part.rename(aside)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink()


def _remove_empty_folders(folder: Path, models: Path) -> None:
    """Removes folders that have become empty, up to ComfyUI's own below `models/`."""
    with suppress(OSError):
        while folder.parent != models and folder != models:
            folder.rmdir()
            folder = folder.parent


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _below(place: Path) -> Iterator[Path]:
    """The files below a folder, or the file itself; links are not followed."""
    if place.is_symlink() or not place.is_dir():
        yield place
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names)


def _size(file: Path) -> int:
    return 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
