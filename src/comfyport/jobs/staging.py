"""A job's files on their way to ComfyUI: written to this disk, counted against what a job may bring, and hashed."""

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Limits:
    """What one job may bring: files, bytes of one and of all together, pixels of a picture, seconds to fetch a file.

    `private_urls` lets addresses lead to private networks, and be plain http.
    """

    files: int
    file_bytes: int
    total_bytes: int
    pixels: int
    fetch_seconds: float
    private_urls: bool = False


class TooLarge(Exception):
    """A file is larger than a job may bring."""


class Allowance:
    """The bytes that a job may still bring; its files take from it side by side, in threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self._lock = threading.Lock()

    def take(self, size: int, *, file_total: int) -> None:
        """Counts `size` bytes of a file that has `file_total` with them. Raises TooLarge."""
        with self._lock:
            self._total += size
            total = self._total
        if file_total > self._limits.file_bytes:
            raise TooLarge(f"it has more than the {_mb(self._limits.file_bytes)} that INPUT_FILE_MB allows")
        if total > self._limits.total_bytes:
            raise TooLarge(f"the job's files have more than the {_mb(self._limits.total_bytes)} that INPUT_MB allows")


class Staged:
    """A file being written from the start of `with` to its end; `sha256` (hex) is that of what has been written."""

    def __init__(self, path: Path, allowance: Allowance) -> None:
        self.path = path
        self.size = 0
        self._allowance = allowance
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """The digest of the content so far."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Appends. Raises TooLarge, before more is written than a job may bring, and OSError."""
        self.size += len(piece)
        self._allowance.take(len(piece), file_total=self.size)
        self._digest.update(piece)
        self._file.write(piece)


def _mb(size: int) -> str:
    return f"{size / 1e6:g} MB"
