"""Measures what `comfyport models prefetch` saves the first reader of a model.

usage: python -m bench.prefetch [--folder DIR] [--mib 1024] [--runs 3] [--threads 8]

A file of 1 GiB is written to the folder, synced and dropped from the page cache; then another process reads it once, as
ComfyUI does: through a map of the file, front to back. Three ways, in turn, and the medians are compared:

- cold: nobody has read the file before
- beside: the prefetch starts at the same moment as the reader
- before: the prefetch has ended, as it has when ComfyUI's imports took longer than it did

What a local disk cannot show: a network disk answers each request after milliseconds and caps what one reader gets, so
that eight readers are worth more than one, and `beside` gains more there than here. Its server has a cache of its own,
which nobody can drop from here, so that what was just written may come from that server's memory. And ComfyUI's
imports, which come from the container's own disk, compete with the prefetch only where both are on one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

from bench.tables import markdown, spread
from comfyport.models.prefetch import BLOCK, prefetch

READER = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
    view, step = memoryview(content), 16 << 20
    sys.stdin.readline()
    started = time.monotonic()
    for start in range(0, len(view), step):
        bytes(view[start : start + step])
    print(time.monotonic() - started)
    view.release()
"""


def main() -> None:
    """Makes the file, measures, prints a table, removes the file."""
    parser = argparse.ArgumentParser(description="What the prefetch saves the first reader of a model.")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="a folder on the disk to test")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8, help="readers of the prefetch")
    asked = parser.parse_args()
    file = asked.folder / f"prefetch-{uuid.uuid4().hex}.bin"
    try:
        _make(file, asked.mib << 20)
        _drop(file)
        if _in_memory(file):
            sys.exit(f"{asked.folder} keeps its files in memory; name a folder on a disk with --folder")
        ways: dict[str, Callable[[], float]] = {
            "cold": lambda: _read(file),
            "beside": lambda: _read(file, beside=lambda: _prefetch(file, asked.threads)),
            "before": lambda: _prefetch(file, asked.threads) and _read(file),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(asked.runs):
            for way, measure in ways.items():
                _drop(file)
                seconds[way].append(measure())
    finally:
        file.unlink(missing_ok=True)
    sys.stdout.write(_table(seconds, asked.mib))


def _make(file: Path, size: int) -> None:
    with file.open("wb") as opened:
        for _ in range(0, size, BLOCK):
            opened.write(os.urandom(BLOCK))
        opened.truncate(size)
        opened.flush()
        os.fsync(opened.fileno())


def _drop(file: Path) -> None:
    with file.open("rb", buffering=0) as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _in_memory(file: Path) -> bool:
    """Whether the middle of a file is in the page cache, where the disk tells."""
    with file.open("rb", buffering=0) as opened, suppress(OSError):
        return os.preadv(opened.fileno(), [bytearray(1)], file.stat().st_size // 2, os.RWF_NOWAIT) == 1
    return False


def _prefetch(file: Path, threads: int) -> float:
    return prefetch([file], budget=file.stat().st_size, stop=threading.Event(), threads=threads).seconds


def _read(file: Path, beside: Callable[[], object] | None = None) -> float:
    """Seconds that another process takes to read the file once, while `beside` runs."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    running = threading.Thread(target=beside) if beside else None
    if running:
        running.start()
    output, _ = reader.communicate("\n")
    if running:
        running.join()
    return float(output)


def _table(seconds: dict[str, list[float]], mib: int) -> str:
    medians = {way: median(taken) for way, taken in seconds.items()}
    rows = [
        [way, spread(taken, 2), f"{mib / medians[way]:.0f}", f"{medians[way] / medians['cold']:.2f}"]
        for way, taken in seconds.items()
    ]
    return markdown((f"first read of {mib} MiB", "s: median (min-max)", "MiB/s", "time / cold"), rows)


if __name__ == "__main__":
    main()
