"""Checks that what is on the volume is what the lock names."""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from comfyport.models import plan
from comfyport.models.events import FileAdvanced, FileFailed, FileReady, FileStarted, Observer, Stopped, shielded
from comfyport.models.lock import Entry
from comfyport.models.volume import Receipt, Volume

logger = logging.getLogger(__name__)

CHUNK = 4 << 20
# hashlib lets other threads run; more files at once than that only disturb each other on a disk.
FILES_AT_ONCE = 4


def digest_of(file: Path, advance: Callable[[int], None] = lambda size: None) -> str:
    """The sha256 of a file, 64 lower hex digits; `advance` hears of the bytes of each block."""
    digest = hashlib.sha256()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with file.open("rb", buffering=0) as opened:
        while count := opened.readinto(buffer):
            digest.update(view[:count])
            advance(count)
    return digest.hexdigest()


def verify(
    entries: Sequence[Entry],
    volume: Volume,
    *,
    full: bool,
    observe: Observer = lambda event: None,
    stop: threading.Event | None = None,
) -> list[tuple[Entry, str]]:
    """The entries that are not as the lock says, each with the reason.

    Quick: size and mtime as in the receipt, and a few blocks read. `full`: every byte, several files at once, with
    events as of a download. Raises VolumeUnusable; Stopped within a block after `stop` is set.
    """
    inspection = _Inspection(volume, full, shielded(observe), stop or threading.Event())
    made = plan.make(entries, state=volume.state, receipt=volume.receipt)
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="verify") as pool:
        try:
            reasons = list(pool.map(inspection.examine, made.actions))
        except BaseException:
            # The pool waits for its threads, which would read on for minutes.
            inspection.stop.set()
            raise
    return [(action.entry, reason) for action, reason in zip(made.actions, reasons, strict=True) if reason]


@dataclass(frozen=True)
class _Inspection:
    """One look at all files; each file on the disk is read once, however many names it has."""

    volume: Volume
    full: bool
    observe: Observer
    stop: threading.Event
    digests: dict[tuple[int, int], "Future[str]"] = field(default_factory=dict)

    def examine(self, action: plan.Action) -> str:
        """What is wrong with what an entry names; empty if nothing is found."""
        path = action.entry.path
        receipt = self.volume.receipt(path) if action.kind == "have" else None
        try:
            reason = self._damage(path, receipt) if receipt else action.reason or action.kind
        except OSError as error:
            reason = f"it cannot be read: {os.strerror(error.errno or 0).lower()}"
        if reason:
            self.observe(FileFailed(path, action.kind, reason))
        else:
            self.observe(FileReady(path, _size(receipt)))
        return reason

    def _damage(self, path: str, receipt: Receipt | None) -> str:
        if receipt is None:
            return "it is gone"
        if receipt.sample and self.volume.sample(path) != receipt.sample:
            return "its bytes are not those of its receipt"
        return self._damage_in_full(path, receipt) if self.full else ""

    def _damage_in_full(self, path: str, receipt: Receipt) -> str:
        self.observe(FileStarted(path, _size(receipt)))
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            if self.stop.is_set():
                raise Stopped
            done += count
            self.observe(FileAdvanced(path, done))

        if not receipt.members:
            right = self._digest(self.volume.file(path), advance) == receipt.sha256
            return "" if right else "its bytes are not those of its receipt"
        if not all(member.sha256 for member in receipt.members):
            logger.warning("model path=%s was unpacked when digests were not noted: its size and time are right", path)
        for member in receipt.members:
            if member.sha256 and self._digest(self.volume.file(member.path), advance) != member.sha256:
                return f"{member.path}, which was unpacked from it, has other bytes than then"
        return ""

    def _digest(self, file: Path, advance: Callable[[int], None]) -> str:
        status = file.stat()
        mine: Future[str] = Future()
        known = self.digests.setdefault((status.st_dev, status.st_ino), mine)
        if known is mine:
            try:
                mine.set_result(digest_of(file, advance))
            except BaseException as error:
                mine.set_exception(error)
                raise
        return known.result()


def _size(receipt: Receipt | None) -> int:
    """Bytes that a receipt speaks of."""
    if receipt is None:
        return 0
    return sum(member.size for member in receipt.members) or receipt.size
