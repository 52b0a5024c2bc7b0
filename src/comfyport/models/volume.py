"""Where things lie on the volume.

    <volume>/models/<directory>/<name>          plain files, where ComfyUI reads them
    <volume>/custom_nodes/<name>/
    <volume>/.comfyport/receipts/<path>.json    one per managed file: size, mtime, sha256, sample, when, from where
    <volume>/.comfyport/parts/                  downloads under way: see `parts.py`
    <volume>/.comfyport/leases/                 who is fetching what: see `leases.py`
    <volume>/.comfyport/amendments/             what was added to the lock here: see `amendments.py`

A receipt says that a file was whole and right when it was put there; as long as size and mtime are the same, nobody
needs to read the file again. An archive's receipt lists what was unpacked from it.
"""

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comfyport.errors import VolumeUnusable

SAMPLE_BLOCKS = 16
SAMPLE_BLOCK_BYTES = 64 << 10


@dataclass(frozen=True)
class Member:
    """One file that was unpacked from an archive: its path below `models/`, its bytes, its mtime, its sha256.

    `sha256` is empty in receipts that were written before it was noted.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str = ""


@dataclass(frozen=True)
class Receipt:
    """What is known of a file that comfyport has put on the volume, or has read and found right.

    `sample` is the sha256 over 16 blocks of 64 KiB, spread evenly; empty for an archive, which has `members` instead.
    """

    size: int
    mtime_ns: int
    sha256: str
    source: str
    at: float
    sample: str = ""
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class FileState:
    """What the disk says of a file: bytes and time of last change."""

    size: int
    mtime_ns: int


class Volume:
    """A folder with models, custom nodes and comfyport's own notes on them.

    `tells_space` is False for a disk that makes up what it has free, as a Modal Volume does.
    """

    def __init__(self, root: Path, *, staging: Path | None = None, tells_space: bool = True) -> None:
        self.root = root
        self.tells_space = tells_space
        self.models = root / "models"
        self.custom_nodes = root / "custom_nodes"
        self.parts = staging or root / ".comfyport" / "parts"
        self.leases = root / ".comfyport" / "leases"
        self.receipts = root / ".comfyport" / "receipts"
        self.amendments = root / ".comfyport" / "amendments"

    def make_folders(self) -> None:
        """Makes the folders that a person looks into. Raises VolumeUnusable."""
        self._make(self.models, self.custom_nodes)

    def prepare(self) -> None:
        """Makes all folders and tries to write. Raises VolumeUnusable."""
        self._make(self.models, self.custom_nodes, self.parts, self.leases, self.receipts)
        probe = self.parts / f".probe-{uuid.uuid4().hex}"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._unusable(error) from None

    def file(self, path: str) -> Path:
        """Where the model `checkpoints/a.safetensors` lies."""
        return self.models / path

    def state(self, path: str) -> FileState | None:
        """Size and mtime of a model, of the file behind it if it is a link; None if there is none.

        Raises VolumeUnusable.
        """
        try:
            status = self.file(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # A link that leads to itself is no file; anything else is a disk that does not answer.
            if error.errno == errno.ELOOP:
                return None
            raise self._unusable(error) from None
        return FileState(status.st_size, status.st_mtime_ns)

    def receipt(self, path: str) -> Receipt | None:
        """The receipt of a model; None if there is none, or if it cannot be understood. Raises VolumeUnusable."""
        try:
            content: dict[str, Any] = json.loads(self._receipt_file(path).read_text(encoding="utf-8"))
            return Receipt(**{**content, "members": tuple(Member(**member) for member in content.get("members", ()))})
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, AttributeError):
            return None
        except OSError as error:
            raise self._unusable(error) from None

    def managed(self) -> Iterator[str]:
        """The paths of all models that have a receipt, in no order."""
        for file in self.receipts.rglob("*.json"):
            if not file.name.startswith("."):
                yield file.relative_to(self.receipts).as_posix().removesuffix(".json")

    def write_receipt(self, path: str, *, sha256: str, source: str, members: tuple[Member, ...] = ()) -> None:
        """Notes that the file at `path`, as it lies there now, or what was unpacked from it, is right."""
        if members:
            receipt = Receipt(0, 0, sha256, source, time.time(), members=members)
        else:
            state, sample = self.file(path).stat(), self.sample(path)
            receipt = Receipt(state.st_size, state.st_mtime_ns, sha256, source, time.time(), sample)
        file = self._receipt_file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        part.write_text(json.dumps(asdict(receipt)), encoding="utf-8")
        part.replace(file)

    def drop_receipt(self, path: str) -> None:
        """Forgets a model."""
        self._receipt_file(path).unlink(missing_ok=True)

    def sample(self, path: str) -> str:
        """The sha256 over a few blocks of a model: finds most changes that kept size and mtime, in milliseconds."""
        digest = hashlib.sha256()
        with self.file(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for number in range(SAMPLE_BLOCKS):
                start = number * max(0, size - SAMPLE_BLOCK_BYTES) // (SAMPLE_BLOCKS - 1)
                digest.update(os.pread(file.fileno(), SAMPLE_BLOCK_BYTES, start))
        return digest.hexdigest()

    def publish(self, part: Path, path: str) -> None:
        """Puts a finished part at its place, whole or not at all. The part's content must be on disk already."""
        target = self.file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.stat().st_dev != target.parent.stat().st_dev:
            part = _copy_beside(part, target)
        part.replace(target)
        _sync_folder(target.parent)

    def link(self, path: str, target: Path) -> None:
        """Makes `path` a link to another file; a relative one within the volume, which is mounted elsewhere too."""
        link = self.file(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        inside = target.is_relative_to(self.root)
        leads_to = os.path.relpath(target, link.parent) if inside else str(target)
        beside = link.with_name(f".{link.name}.{uuid.uuid4().hex}")
        beside.symlink_to(leads_to)
        beside.replace(link)

    def free_bytes(self) -> int | None:
        """Bytes that can still be written where models lie, or will lie; None if nobody can tell."""
        disk = self.disk()
        return disk[0] if disk else None

    def disk(self) -> tuple[int, int] | None:
        """Bytes that are free where models lie, or will lie, and bytes that the disk has in all; None if unknown."""
        if not self.tells_space:
            return None
        place = self.models
        while not place.is_dir() and place != place.parent:
            place = place.parent
        usage = shutil.disk_usage(place)
        return usage.free, usage.total

    def _make(self, *folders: Path) -> None:
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> VolumeUnusable:
        return VolumeUnusable(str(self.root), os.strerror(error.errno or 0).lower())

    def _receipt_file(self, path: str) -> Path:
        return self.receipts / f"{path}.json"


def _copy_beside(part: Path, target: Path) -> Path:
    # A rename is atomic within one file system only, so that a staged part crosses over first.
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with part.open("rb") as source, beside.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    part.unlink()
    return beside


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename itself has succeeded.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
