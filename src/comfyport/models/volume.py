"""Where things lie on the volume.

    <volume>/models/<directory>/<name>          plain files, where ComfyUI reads them
    <volume>/custom_nodes/<name>/
    <volume>/.comfyport/receipts/<path>.json    one per managed file: size, mtime, sha256, when, from where
    <volume>/.comfyport/parts/                  downloads under way, private to the process that writes them

A receipt says that a file was whole and right when it was put there; as long as size and mtime are the same, nobody
needs to read the file again.
"""

import errno
import json
import os
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from comfyport.errors import VolumeUnusable

# A part this old belongs to nobody: no download stands still for so long.
STALE_PART_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Receipt:
    """What is known of a file that comfyport has put on the volume, or has read and found right."""

    size: int
    mtime_ns: int
    sha256: str
    source: str
    at: float


@dataclass(frozen=True)
class FileState:
    """What the disk says of a file: bytes and time of last change."""

    size: int
    mtime_ns: int


class Volume:
    """A folder with models, custom nodes and comfyport's own notes on them."""

    def __init__(self, root: Path, *, staging: Path | None = None) -> None:
        self.root = root
        self.models = root / "models"
        self.custom_nodes = root / "custom_nodes"
        self.parts = staging or root / ".comfyport" / "parts"
        self._receipts = root / ".comfyport" / "receipts"

    def make_folders(self) -> None:
        """Makes the folders that a person looks into. Raises VolumeUnusable."""
        self._make(self.models, self.custom_nodes)

    def prepare(self) -> None:
        """Makes all folders and tries to write. Raises VolumeUnusable."""
        self._make(self.models, self.custom_nodes, self.parts, self._receipts)
        probe = self.parts / f".probe-{uuid.uuid4().hex}"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise VolumeUnusable(str(self.root), os.strerror(error.errno or 0).lower()) from None

    def _make(self, *folders: Path) -> None:
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VolumeUnusable(str(self.root), os.strerror(error.errno or 0).lower()) from None

    def file(self, path: str) -> Path:
        """Where the model `checkpoints/a.safetensors` lies."""
        return self.models / path

    def state(self, path: str) -> FileState | None:
        """Size and mtime of a model; None if there is none."""
        try:
            status = self.file(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileState(status.st_size, status.st_mtime_ns)

    def receipt(self, path: str) -> Receipt | None:
        """The receipt of a model; None if there is none, or if it cannot be understood."""
        try:
            return Receipt(**json.loads(self._receipt_file(path).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def write_receipt(self, path: str, *, sha256: str, source: str) -> None:
        """Notes that the file at `path`, as it lies there now, has this sha256."""
        state = self.file(path).stat()
        receipt = Receipt(state.st_size, state.st_mtime_ns, sha256, source, time.time())
        file = self._receipt_file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        part.write_text(json.dumps(asdict(receipt)), encoding="utf-8")
        part.replace(file)

    def new_part(self, path: str) -> Path:
        """A path for a download under way that no other process has."""
        return self.parts / f"{path.replace('/', '--')}.{uuid.uuid4().hex}.part"

    def publish(self, part: Path, path: str) -> None:
        """Puts a finished part at its place, whole or not at all."""
        target = self.file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.stat().st_dev != target.parent.stat().st_dev:
            part = self._copy_beside(part, target)
        part.replace(target)
        _sync_folder(target.parent)

    def free_bytes(self) -> int:
        """Bytes that can still be written where models lie."""
        return shutil.disk_usage(self.models if self.models.is_dir() else self.root).free

    def remove_stale_parts(self) -> None:
        """Deletes parts that nobody has written to for a day."""
        for part in self.parts.glob("*.part"):
            try:
                if time.time() - part.stat().st_mtime > STALE_PART_SECONDS:
                    part.unlink()
            except FileNotFoundError:
                continue

    def _copy_beside(self, part: Path, target: Path) -> Path:
        # A rename is atomic within one file system only, so that a staged part crosses over first.
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with part.open("rb") as source, beside.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                sync_file(copy)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        part.unlink()
        return beside

    def _receipt_file(self, path: str) -> Path:
        return self._receipts / f"{path}.json"


def sync_file(file: IO[bytes]) -> None:
    """Sees to it that what was written to `file` survives a crash."""
    file.flush()
    os.fsync(file.fileno())


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
