"""Finds and removes what nobody needs any more: managed files that the lock no longer names, stale parts and leases.

What has no receipt, or was written to since its receipt, is the user's own and is never touched. A kept path that is
a link to an orphan (the same content under two names is stored once) inherits the orphan's bytes.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comfyport.models import plan
from comfyport.models.leases import Leases
from comfyport.models.lock import Entry
from comfyport.models.volume import FileState, Receipt, Volume

# Nothing that is alive stands still for so long.
STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Removal:
    """What is removed: files by path below `models/`, receipts of files that are the user's now, parts, leases."""

    files: tuple[str, ...]
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
    files: list[str] = []
    receipts: list[str] = []
    kept = set(plan.kept_paths(entries, volume.receipt))
    for path in plan.orphans(volume.managed(), entries, volume.receipt):
        noted = volume.receipt(path)
        own = [found for found in _noted(path, noted) if found not in kept and _is_ours(found, noted, volume)]
        files += own
        receipts.append(path)
    parts = tuple(folder for folder in _entries(volume.parts) if _age(folder, volume.parts) > STALE_SECONDS)
    stale = Leases(volume.leases, stale_seconds=STALE_SECONDS).remove_stale(dry_run=True)
    size = sum(_size(volume.file(path)) for path in files) + sum(_size_below(part) for part in parts)
    return Removal(tuple(sorted(files)), tuple(receipts), parts, tuple(stale), size)


def remove(removal: Removal, entries: Sequence[Entry], volume: Volume) -> None:
    """Removes what was planned. Raises OSError."""
    for path in removal.files:
        if not _inherited(path, entries, volume):
            volume.file(path).unlink(missing_ok=True)
        _remove_empty_folders(volume.file(path).parent, volume.models)
    for path in removal.receipts:
        volume.drop_receipt(path)
    for part in removal.parts:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    if removal.leases:
        Leases(volume.leases, stale_seconds=STALE_SECONDS).remove_stale()


def _noted(path: str, receipt: Receipt | None) -> list[str]:
    """The paths that a receipt speaks of: its own, or those of what was unpacked."""
    return [member.path for member in receipt.members] if receipt and receipt.members else [path]


def _is_ours(path: str, receipt: Receipt | None, volume: Volume) -> bool:
    """Whether the file is still the one that was put there; a link of ours is, whatever has become of its target."""
    if receipt is None:
        return False
    if volume.file(path).is_symlink():
        return True
    notes = {member.path: FileState(member.size, member.mtime_ns) for member in receipt.members}
    return volume.state(path) == notes.get(path, FileState(receipt.size, receipt.mtime_ns))


def _inherited(path: str, entries: Sequence[Entry], volume: Volume) -> bool:
    """Moves an orphan's bytes to the first kept link that leads to it, and points the other links there."""
    orphan = volume.file(path)
    if orphan.is_symlink():
        return False
    heirs = [entry.path for entry in entries if _leads_to(volume.file(entry.path), orphan)]
    if not heirs:
        return False
    orphan.replace(volume.file(heirs[0]))
    for other in heirs[1:]:
        volume.link(other, volume.file(heirs[0]))
    return True


def _leads_to(link: Path, target: Path) -> bool:
    return link.is_symlink() and link.resolve() == target.resolve()


def _remove_empty_folders(folder: Path, models: Path) -> None:
    """Removes folders that have become empty, up to ComfyUI's own below `models/`."""
    with suppress(OSError):
        while folder.parent != models and folder != models:
            folder.rmdir()
            folder = folder.parent


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _age(place: Path, folder: Path) -> float:
    """Seconds between the last write to `place` and now, by the clock of the disk that `folder` is on."""
    probe = folder / ".clock"
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now - max(path.stat().st_mtime for path in (place, *place.rglob("*")))
    except OSError:
        return 0.0


def _size(file: Path) -> int:
    return 0 if file.is_symlink() or not file.is_file() else file.stat().st_size


def _size_below(place: Path) -> int:
    return sum(_size(file) for file in (place, *place.rglob("*")))
