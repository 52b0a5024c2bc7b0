"""The files that are downloaded: bytes that no tool can compress, with their sha256."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import CannotMeasureError

MIB = 1 << 20
GIB = 1 << 30
# Small: what this program takes at its peak hides what small tools take.
BLOCK = MIB // 4
# What the file system, logs and locks may take besides.
SPARE_BYTES = GIB


@dataclass(frozen=True)
class File:
    """One file to download: its name, bytes and sha256."""

    name: str
    size: int
    sha256: str


def make(folder: Path, name: str, size: int) -> File:
    """Writes `size` random bytes to `folder / name`."""
    digest = hashlib.sha256()
    with (folder / name).open("wb") as file:
        for start in range(0, size, BLOCK):
            block = os.urandom(min(BLOCK, size - start))
            digest.update(block)
            file.write(block)
    return File(name, size, digest.hexdigest())


def read_through(file: Path) -> None:
    """Reads a file once, so that it is in the page cache."""
    buffer = bytearray(BLOCK)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass


def is_right(path: Path, file: File) -> bool:
    """Whether `path` holds the bytes of `file`."""
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def check_space(folder: Path, needed: int) -> None:
    """Raises CannotMeasureError if `folder` has no room for `needed` bytes."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed + SPARE_BYTES:
        raise CannotMeasureError(
            f"{folder} has {free / GIB:.1f} GiB free and {(needed + SPARE_BYTES) / GIB:.1f} GiB are needed; "
            "name another place with --folder, or use --quick"
        )


def touch_memory(folder: Path, size: int) -> None:
    """Fills and frees as much page cache as a run will need.

    A virtual machine gives freed memory back to its host, and the first run that needs it again pays for it with
    seconds of system time, whichever tool that is.
    """
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        block = bytes(MIB)
        for _ in range(size // MIB):
            file.write(block)
