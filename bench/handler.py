"""Times jobs through a worker: what it adds to ComfyUI's own work, and how long the GPU waits for the next.

usage: python -m bench.handler     see README.md
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import count as counting
from pathlib import Path

from bench import tables
from bench.doors import Door, HttpDoor, RunPodDoor, StockDoor, comfyui_option, named
from bench.job_times import COLUMNS, Series, cells, percentile
from bench.terminal import count, in_folder, say, show

FACES: dict[str, tuple[str, type[Door]]] = {
    "runpod": ("comfyport, RunPod", RunPodDoor),
    "http": ("comfyport, HTTP", HttpDoor),
    "stock": ("comfyport at the SDK's pace, RunPod", StockDoor),
}
MODES = {"one at a time": False, "backlog": True}
WARM_UP = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit status."""
    options = _options(arguments)
    return in_folder(options.folder, lambda folder: show(_report(folder, options)))


def _report(folder: Path, options: argparse.Namespace) -> str:
    measured = [(face, mode, series) for face in options.faces for mode, series in _measure(face, folder, options)]
    comfyui = named(options.comfyui)
    parts = []
    for mode, backlog in MODES.items():
        # Over HTTP the next of single jobs comes when the client sends it.
        rows = [cells(of, gaps=backlog or face != "http") for face, at, of in measured if at == mode]
        parts.append(f"**{options.jobs} jobs, {mode}, {comfyui}**\n\n{tables.markdown(COLUMNS, rows)}")
    targets = [target for face, mode, of in measured if face == "runpod" for target in _targets(mode, of)]
    return "\n".join([*parts, tables.target_table(targets)])


def _measure(face: str, folder: Path, options: argparse.Namespace) -> list[tuple[str, Series]]:
    name, door = FACES[face]
    say(f"{name}: starting")
    numbers = counting(1)
    measured = []
    with door(folder / face, options.comfyui) as worker:
        for mode, backlog in MODES.items():
            worker.series([next(numbers) for _ in range(WARM_UP)], backlog=backlog)
            jobs = worker.series([next(numbers) for _ in range(options.jobs)], backlog=backlog)
            say(f"{name}: {mode} done")
            measured.append((mode, Series(name, jobs)))
    return measured


def _targets(mode: str, series: Series) -> list[tables.Target]:
    return [
        tables.Target(f"RunPod, {mode}: overhead ms, p50", percentile(series.overheads, 0.5), 10),
        tables.Target(f"RunPod, {mode}: gap ms, p50", percentile(series.gaps, 0.5), 20),
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.handler", description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=count, default=50, metavar="N", help="jobs of each series (50)")
    parser.add_argument("--faces", nargs="+", choices=FACES, default=list(FACES), help="the doors to measure (all)")
    comfyui_option(parser)
    parser.add_argument("--folder", type=Path, help="where the workers' files go (the temporary folder)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
