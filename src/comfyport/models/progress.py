"""Adds the events of a download up to what a person or a waiting job wants to know."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from comfyport.errors import ComfyportError
from comfyport.models.events import Event, FileAdvanced, FileFailed, FileReady, FileStarted
from comfyport.models.lock import Entry

# The rate is that of the last seconds: an average since the start says nothing about the time left.
RATE_SECONDS = 5.0

FileStatus = Literal["waiting", "downloading", "ready", "failed"]


@dataclass
class FileProgress:
    """One file's share: bytes there and bytes in all (None while unknown); `began` by the monotonic clock."""

    entry: Entry
    state: FileStatus = "waiting"
    bytes: int = 0
    size: int | None = None
    error: dict[str, str] | None = None
    began: float | None = None


class Progress:
    """The state of a whole download; `observe` may be called from several threads."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.files = {entry.path: FileProgress(entry, size=entry.size) for entry in entries}
        self.state: Literal["running", "done", "failed"] = "running"
        self.error: dict[str, str] | None = None
        self._begun = time.monotonic()
        self._checked: float | None = None
        self._ended: float | None = None
        self._marks: list[tuple[float, int]] = [(self._begun, 0)]
        self._fetched = 0
        self._lock = threading.Lock()

    def observe(self, event: Event) -> None:
        """Takes one event in."""
        with self._lock:
            file = self.files[event.path]
            match event:
                case FileStarted(size=size, bytes_there=there):
                    self._checked = self._checked or time.monotonic()
                    file.state, file.size, file.bytes = "downloading", size or file.size, there
                    file.began = file.began or time.monotonic()
                case FileAdvanced(bytes_done=done):
                    self._advance(file, done)
                case FileReady(size=size):
                    file.state, file.bytes, file.size = "ready", size, size
                case FileFailed(code=code, message=message):
                    file.state, file.error = "failed", {"code": code, "message": message}

    def finish(self, error: ComfyportError | None = None) -> None:
        """Ends the download: done, or failed with files that failed or with `error` of the whole step."""
        failed = error or any(file.state == "failed" for file in self.files.values())
        self.state = "failed" if failed else "done"
        self._ended = time.monotonic()
        if error:
            self.error = {"code": error.code, "message": error.message}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds until it was known what the volume lacks, `verify`, and since then, `download`."""
        now = self._ended or time.monotonic()
        checked = self._checked or now
        return {"verify": round(checked - self._begun, 3), "download": round(now - checked, 3)}

    @property
    def rate(self) -> float:
        """Bytes per second over the last seconds."""
        with self._lock:
            first_time, first_bytes = self._marks[0]
            elapsed = time.monotonic() - first_time
            return (self._fetched - first_bytes) / elapsed if elapsed > 0.1 else 0.0

    @property
    def bytes_left(self) -> int:
        """Bytes still to come, of the files whose size is known."""
        return sum(max(0, (file.size or 0) - file.bytes) for file in self._work() if file.state != "ready")

    @property
    def bytes_total(self) -> int:
        """Bytes of the files that were not there when it began, or had to be read; of those whose size is known."""
        return sum(max(file.size or 0, file.bytes) for file in self._work())

    @property
    def bytes_done(self) -> int:
        """How many of `bytes_total` are there."""
        return self.bytes_total - self.bytes_left

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the rest is there at the present rate; None while nobody can tell."""
        if not self.bytes_left:
            return 0.0
        return self.bytes_left / self.rate if self.rate else None

    def as_section(self) -> dict[str, Any]:
        """The progress as the section `models` of the status board."""
        return {
            "state": self.state,
            "error": self.error,
            "seconds": self.seconds,
            "bytes_per_second": round(self.rate),
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "bytes_left": self.bytes_left,
            "seconds_left": self.seconds_left,
            "files": [
                {
                    "path": path,
                    "directory": file.entry.directory,
                    "name": file.entry.name,
                    "unpacked_into": file.entry.archive.into if file.entry.archive else None,
                    "state": file.state,
                    "bytes": file.bytes,
                    "size": file.size,
                    "error": file.error,
                }
                for path, file in self.files.items()
            ],
        }

    def _work(self) -> list[FileProgress]:
        """The files that are brought or will be; one that waits for content that is on its way already is linked."""
        work = [file for file in self.files.values() if file.began and file.state != "failed"]
        known = {file.entry.sha256 for file in self.files.values() if file.state in ("downloading", "ready")} - {None}
        for file in self.files.values():
            if file.state == "waiting" and (file.entry.archive or file.entry.sha256 not in known):
                work.append(file)
                known |= {file.entry.sha256} - {None}
        return work

    def _advance(self, file: FileProgress, done: int) -> None:
        self._fetched += max(0, done - file.bytes)
        file.bytes = done
        now = time.monotonic()
        if now - self._marks[-1][0] >= RATE_SECONDS / 10:
            self._marks.append((now, self._fetched))
            self._marks = [mark for mark in self._marks if now - mark[0] <= RATE_SECONDS] or self._marks[-1:]
