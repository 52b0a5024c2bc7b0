"""Weighs the image layer by layer; times its build, a change in src/, and a container's way to its first picture.

usage: python -m bench.image     see README.md
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import CannotMeasureError, containers, first_job, layers
from bench.first_job import FirstJob
from bench.layers import Layer
from bench.tables import Target, markdown, spread, target_table
from bench.terminal import count, in_folder, say, show

MB = 1e6
# The compressed size that each may have, in MB.
LIMITS = {"emulated": 250.0, "cpu": 800.0, "gpu": 3200.0}
CONTEXT_FOLDERS = ("emulators", "image", "recipes", "src")
CONTEXT_FILES = (
    ".dockerignore",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "models.lock.json",
    "nodes.lock.json",
    "pyproject.toml",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit status."""
    options = _options(arguments)
    return in_folder(options.folder, lambda folder: _report(folder, options))


def copy_context(folder: Path) -> Path:
    """The files that the image is built from, copied into `folder`, where they may be changed."""
    for name in CONTEXT_FOLDERS:
        shutil.copytree(containers.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in CONTEXT_FILES:
        shutil.copy2(containers.ROOT / name, folder / name)
    return folder


def _report(folder: Path, options: argparse.Namespace) -> None:
    try:
        containers.require()
    except containers.NoContainersError as error:
        raise CannotMeasureError(str(error)) from None
    tag = f"localhost/comfyport-bench:{options.variant}"
    from_nothing = None if options.built else _build(tag, options, folder, containers.ROOT, cached=False)
    weighed = layers.compressed(tag, folder)
    show(f"**The image `{options.variant}`, part by part**\n\n{_weights(weighed)}")
    changed, added = _change(tag, options, folder)
    show(f"**Building it**\n\n{_builds(from_nothing, changed, added)}")
    empty, starts = _starts(tag, folder, options.runs)
    show(f"**From `podman run` to the first picture**\n\n{_phases(empty, starts)}")
    total = sum(layer.compressed or 0 for layer in weighed) / MB
    targets = [
        Target(f"the image, compressed: MB ({options.variant})", total, LIMITS[options.variant]),
        Target("all but torch and ComfyUI's packages, compressed: MB", layers.without_torch(weighed) / MB, 250),
        Target("a change in src/: s to build", changed, 20),
        Target("a change in src/: MB added", added / MB, 5),
        Target("podman run to the first picture: s", median(start.finished for start in starts), 9),
    ]
    show(target_table(targets))


def _build(tag: str, options: argparse.Namespace, folder: Path, context: Path, *, cached: bool) -> float:
    """Builds the image; the seconds that it took. Raises CannotMeasureError."""
    say(f"building {tag}")
    command = containers.build_command(
        tag, containers.VARIANTS[options.variant], context=context, comfyui=options.comfyui, cached=cached
    )
    log = folder / "build.log"
    started = time.perf_counter()
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        raise CannotMeasureError(f"the image could not be built:\n{log.read_text(errors='replace')[-3000:]}")
    return time.perf_counter() - started


def _change(tag: str, options: argparse.Namespace, folder: Path) -> tuple[float, int]:
    """Changes a line in src/ and builds again: seconds, and bytes of new layers, uncompressed."""
    context = folder / "context"
    context.mkdir()
    copy_context(context)
    # Of several builds of one layer, buildah may go on from an older one: both builds are to start from the same.
    _build(f"{tag}-before", options, folder, context, cached=True)
    with (context / "src" / "comfyport" / "status.py").open("a", encoding="utf-8") as file:
        file.write(f"# {time.time()}\n")
    seconds = _build(f"{tag}-changed", options, folder, context, cached=True)
    before = {layer.digest for layer in layers.of(f"{tag}-before")}
    added = sum(layer.size for layer in layers.of(f"{tag}-changed") if layer.digest not in before)
    containers.output("podman", "rmi", f"{tag}-before", f"{tag}-changed")
    return seconds, added


def _starts(tag: str, folder: Path, runs: int) -> tuple[list[float], list[FirstJob]]:
    say("starting it once, so that its files are in memory")
    first_job.measure(tag, folder)
    empty, starts = [], []
    for number in range(1, runs + 1):
        say(f"start {number} of {runs}")
        empty.append(first_job.empty_container(tag))
        starts.append(first_job.measure(tag, folder))
    return empty, starts


def _weights(weighed: list[Layer]) -> str:
    parts = layers.by_part(weighed)
    rows = [(name, f"{size / MB:.1f}", f"{packed / MB:.1f}") for name, (size, packed) in parts.items()]
    sums = (sum(size for size, _ in parts.values()), sum(packed for _, packed in parts.values()))
    rows.append(("**together**", f"{sums[0] / MB:.1f}", f"{sums[1] / MB:.1f}"))
    return markdown(("part", "MB", "MB compressed"), rows)


def _builds(from_nothing: float | None, changed: float, added: int) -> str:
    rows = [
        ("from nothing", "not measured" if from_nothing is None else f"{from_nothing:.0f}", "-"),
        ("after a change in src/", f"{changed:.1f}", f"{added / MB:.2f}"),
    ]
    return markdown(("build", "s", "MB added"), rows)


def _phases(empty: list[float], starts: list[FirstJob]) -> str:
    rows = [
        ("a container that does nothing", spread(empty, 2)),
        ("until the HTTP door answers", spread([start.listening for start in starts], 2)),
        ("until ComfyUI is ready", spread([start.ready for start in starts], 2)),
        ("until the picture is there", spread([start.finished for start in starts], 2)),
    ]
    return markdown(("phase, each from the start", "s: median (min-max)"), rows)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.image", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--variant", choices=list(containers.VARIANTS), default="emulated", help="which image (emulated)"
    )
    parser.add_argument(
        "--comfyui",
        default=os.environ.get("COMFYUI_REPOSITORY", ""),
        metavar="REPOSITORY",
        help="path or address of ComfyUI's repository (COMFYUI_REPOSITORY, else the Dockerfile's)",
    )
    parser.add_argument("--built", action="store_true", help="the image of the last run is there: do not build it anew")
    parser.add_argument("--runs", type=count, default=5, metavar="N", help="starts (5)")
    parser.add_argument("--folder", type=Path, help="where layers are written to be weighed (the temporary folder)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
