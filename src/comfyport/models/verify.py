"""Checks that what is on the volume is what the lock names."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from comfyport.models import plan
from comfyport.models.lock import Entry
from comfyport.models.volume import Receipt, Volume

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
    entries: Sequence[Entry], volume: Volume, *, full: bool, advance: Callable[[int], None] = lambda size: None
) -> list[tuple[Entry, str]]:
    """The entries that are not as the lock says, each with the reason.

    Quick: size and mtime as in the receipt, and a few blocks read. `full`: every byte, several files at once.
    """
    made = plan.make(entries, state=volume.state, receipt=volume.receipt)

    def check(action: plan.Action) -> str:
        if action.kind != "have":
            return action.reason or action.kind
        receipt = volume.receipt(action.entry.path)
        return _damage(action.entry, receipt, volume, full, advance) if receipt else ""

    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="verify") as pool:
        reasons = list(pool.map(check, made.actions))
    return [(action.entry, reason) for action, reason in zip(made.actions, reasons, strict=True) if reason]


def _damage(entry: Entry, receipt: Receipt, volume: Volume, full: bool, advance: Callable[[int], None]) -> str:
    """What is wrong with a file that seems to be there; empty if nothing is found."""
    if receipt.members:
        # What was unpacked has no digest of its own; size and mtime were looked at already.
        return ""
    if receipt.sample and volume.sample(entry.path) != receipt.sample:
        return "its bytes are not those of its receipt"
    if full and digest_of(volume.file(entry.path), advance) != receipt.sha256:
        return "its bytes are not those of its receipt"
    return ""
