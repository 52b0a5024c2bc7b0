"""Sends many jobs through one worker and shows what grows: memory, open files, disk.

usage: python -m bench.soak     see README.md
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import CannotMeasureError, tables
from bench.doors import HttpDoor, comfyui_option, named
from bench.terminal import count, in_folder, say, show

STEPS = 10
COLUMNS = ("jobs", "worker MB", "worker's files", "ComfyUI MB", "ComfyUI's files", "files on disk", "disk MB")


@dataclass(frozen=True)
class State:
    """What a worker and its ComfyUI hold: resident bytes, open files, and what lies in their folders."""

    jobs: int
    worker_bytes: int
    worker_files: int
    comfyui_bytes: int
    comfyui_files: int
    disk_files: int
    disk_bytes: int

    def cells(self) -> list[str]:
        """A row of the table."""
        return [
            str(self.jobs),
            f"{self.worker_bytes / 1e6:.1f}",
            str(self.worker_files),
            f"{self.comfyui_bytes / 1e6:.1f}",
            str(self.comfyui_files),
            str(self.disk_files),
            f"{self.disk_bytes / 1e6:.1f}",
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit status."""
    options = _options(arguments)
    return in_folder(options.folder, lambda folder: show(_report(folder, options)))


def _report(folder: Path, options: argparse.Namespace) -> str:
    step = max(1, options.jobs // STEPS)
    # Results are kept for half an hour; here they shall go with their jobs, or they would be what grows.
    with HttpDoor(folder / "http", options.comfyui, RESULT_SECONDS="1") as door:
        states = [_state(folder, 0)]
        for first in range(1, options.jobs + 1, step):
            last = min(first + step, options.jobs + 1)
            door.series(range(first, last), backlog=False)
            states.append(_state(folder, last - 1))
            say(f"{last - 1} jobs")
    table = tables.markdown(COLUMNS, [state.cells() for state in states])
    return f"**{options.jobs} jobs, {named(options.comfyui)}**\n\n{table}"


def _state(folder: Path, jobs: int) -> State:
    worker, comfyui = _process("handler.py", folder), _process("main.py", folder)
    # The log and ComfyUI's database are no job's.
    files = [path for path in (folder / "http" / "run" / "comfyui").rglob("*") if path.is_file()]
    kept = [path for path in files if path.relative_to(folder).parts[3] in ("input", "output", "temp", "staging")]
    sizes = [path.stat().st_size for path in kept]
    return State(jobs, *_held(worker), *_held(comfyui), len(sizes), sum(sizes))


def _process(program: str, folder: Path) -> Path:
    """The `/proc` folder of a process of ours, known by its command and by our folder in its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environ = (process / "environ").read_bytes()
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if any(part.endswith(program.encode()) for part in command) and str(folder).encode() in environ:
            return process
    raise CannotMeasureError(f"there is no process {program}")


def _held(process: Path) -> tuple[int, int]:
    resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident, len(list((process / "fd").iterdir()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=count, default=1000, metavar="N", help="jobs in all (1000)")
    comfyui_option(parser)
    parser.add_argument("--folder", type=Path, help="where the worker's files go (the temporary folder)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
