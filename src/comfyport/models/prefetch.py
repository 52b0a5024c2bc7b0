"""Reads models into the page cache while ComfyUI imports, so that loading them does not wait for a disk.

A network disk gives one reader a fraction of what it gives several, and ComfyUI reads a model with one. Blocks are
read in the lock's order by several threads, as far as memory allows; what is cached already is left out.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

logger = logging.getLogger(__name__)

BLOCK = 8 << 20
# Pages leave the cache in groups: one looked at per this many bytes finds a block that has holes.
LOOK_EVERY = 512 << 10
# Reads only what is cached; Linux alone has it.
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)


@dataclass(frozen=True)
class Prefetched:
    """What was done: bytes read, seconds taken, files with something read or cached, bytes found in the cache."""

    bytes: int
    seconds: float
    files: int
    cached: int = 0


def budget(meminfo: str, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The bytes that may be filled: half of what is available, by the text of /proc/meminfo and this container's limit.

    `cgroup` is where its control groups are mounted (version 2 or 1). 0 if nothing is known.
    """
    rooms = [_available(meminfo)]
    for limit, usage, stat, reclaimable in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        most, used = _number(cgroup / limit), _number(cgroup / usage)
        if most is not None and used is not None:
            # Cached files count as used here, though the kernel drops them before it refuses memory.
            rooms.append(most - used + _field(cgroup / stat, reclaimable))
    return max(0, min(rooms) // 2)


def prefetch(files: Sequence[Path], *, budget: int, stop: threading.Event, threads: int = 8) -> Prefetched:
    """Sees to it that the first `budget` bytes of `files`, in this order, are in the page cache, or until `stop`.

    Files that are missing or cannot be read are left out. Raises nothing.
    """
    started = time.monotonic()
    run = _Run(_blocks(files, budget), stop)
    readers = [threading.Thread(target=run.read, name="prefetch", daemon=True) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return Prefetched(run.bytes, time.monotonic() - started, len(run.files), run.cached)


@dataclass(frozen=True)
class _Block:
    file: Path
    offset: int
    size: int


def _blocks(files: Sequence[Path], budget: int) -> Iterator[_Block]:
    """The blocks of `files` in order, until they have `budget` bytes; a file that is there twice comes once."""
    seen: set[tuple[int, int]] = set()
    for file in files:
        try:
            with file.open("rb", buffering=0) as opened:
                status = os.fstat(opened.fileno())
        except OSError as error:
            logger.debug("not read ahead file=%s error=%s", file, error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for offset in range(0, min(status.st_size, budget), BLOCK):
            yield _Block(file, offset, min(BLOCK, status.st_size - offset, budget - offset))
        budget -= min(status.st_size, budget)


class _Run:
    """What the readers share: the blocks that are left, and the counts."""

    def __init__(self, blocks: Iterator[_Block], stop: threading.Event) -> None:
        self.bytes = 0
        self.cached = 0
        self.files: set[Path] = set()
        self._blocks = blocks
        self._stop = stop
        self._lock = threading.Lock()

    def read(self) -> None:
        """Reads blocks until none is left; what one thread does."""
        _step_back()
        buffer = memoryview(bytearray(BLOCK))
        for file, blocks in groupby(iter(self._next, None), key=lambda block: block.file):
            try:
                with file.open("rb", buffering=0) as opened:
                    for block in blocks:
                        self._read(opened.fileno(), block, buffer)
            except OSError as error:
                logger.debug("not read ahead file=%s error=%s", file, error)

    def _next(self) -> _Block | None:
        with self._lock:
            return None if self._stop.is_set() else next(self._blocks, None)

    def _read(self, handle: int, block: _Block, buffer: memoryview) -> None:
        cached = _is_cached(handle, block)
        done = block.size if cached else 0
        while done < block.size:
            got = os.preadv(handle, [buffer[: block.size - done]], block.offset + done)
            if not got:
                break
            done += got
        with self._lock:
            self.files.add(block.file)
            if cached:
                self.cached += done
            else:
                self.bytes += done


def _is_cached(handle: int, block: _Block) -> bool:
    """Whether a block is in the page cache, by a byte of some of its pages; False where the disk does not tell."""
    byte = bytearray(1)
    ends = block.offset + block.size
    try:
        return bool(_NOWAIT) and all(
            os.preadv(handle, [byte], place, _NOWAIT) for place in (*range(block.offset, ends, LOOK_EVERY), ends - 1)
        )
    except OSError:
        return False


def _step_back() -> None:
    # On Linux this is the thread's own, and its reads wait behind others' too: see "The default I/O priority" in
    # ioprio_set(2). ComfyUI's imports come first.
    try:
        os.nice(19)
    except OSError as error:
        logger.debug("priority not lowered error=%s", error)


def _available(meminfo: str) -> int:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    return 0


def _number(file: Path) -> int | None:
    """The number in a control file; None for `max`, and where there is no such file."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _field(file: Path, name: str) -> int:
    try:
        fields = dict(line.split() for line in file.read_text(encoding="ascii").splitlines())
        return int(fields[name])
    except (OSError, ValueError, KeyError):
        return 0
