"""Times `src/download-models.sh` on a volume that has every model already, with other program starts for scale.

usage: python -m bench.warm_start     see README.md
"""

import argparse
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import CannotMeasureError, measure
from bench.content import GIB, MIB
from bench.measure import Usage
from bench.server import REPOSITORY, REVISION
from bench.tables import Row, Target, markdown, megabytes, spread, target_table
from bench.terminal import count, in_folder, say, show
from bench.tools import HUB_CLIENT, bare_environment, find
from comfyport.models.volume import Volume

SCRIPT = Path(__file__).parent.parent / "src" / "download-models.sh"
TIME_LIMIT = 60.0
COLUMNS = ("command", "wall s: median (min-max)", "CPU s", "peak MB")
# Nothing listens there: whoever asks the network after all fails.
NOWHERE = "http://127.0.0.1:9"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit status."""
    options = _options(arguments)
    return in_folder(options.folder, lambda folder: show(_report(folder, options)))


def _report(folder: Path, options: argparse.Namespace) -> str:
    home = folder / "home"
    home.mkdir()
    environment = bare_environment(home) | _full_volume(folder, options.models, options.size * MIB)
    _check_warm(environment, options.models)
    rows = _measure(folder, _commands(folder), environment, options.runs)
    sync = rows[0]
    sockets = _sockets(folder, environment)
    heading = f"**A warm start: {options.models} models of {options.size * MIB / GIB:g} GiB with receipts**\n\n"
    targets = [
        Target("download-models.sh: s", sync.seconds, 0.6),
        Target("download-models.sh: network sockets opened", sockets, 0),
    ]
    return f"{heading}{markdown(COLUMNS, [_cells(row) for row in rows])}\n{target_table(targets)}"


def _full_volume(folder: Path, models: int, size: int) -> dict[str, str]:
    """Makes sparse models, receipts and a lock; what tells comfyport where they are."""
    volume = Volume(folder / "volume")
    volume.prepare()
    entries: list[dict[str, Any]] = []
    for number in range(models):
        name = f"model-{number}.bin"
        # Nobody reads the files here, so that any sha256 will do, as long as lock and receipt agree.
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        sources = [{"type": "huggingface", "repo": REPOSITORY, "revision": REVISION, "file": name}]
        entry = {"directory": "checkpoints", "name": name, "size": size, "sha256": sha256, "sources": sources}
        _sparse(volume.file(f"checkpoints/{name}"), size)
        volume.write_receipt(f"checkpoints/{name}", sha256=sha256, source="huggingface")
        entries.append(entry)
    lock = folder / "models.lock.json"
    lock.write_text(json.dumps({"version": 1, "models": entries}), encoding="utf-8")
    return {
        "COMFYPORT_LOCK": str(lock),
        "COMFYPORT_VOLUME": str(volume.root),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "HF_ENDPOINT": NOWHERE,
    }


def _sparse(file: Path, size: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.truncate(size)


def _check_warm(environment: dict[str, str], models: int) -> None:
    """Raises CannotMeasureError unless the script finds every model ready."""
    done = subprocess.run([str(SCRIPT), "--json"], env=environment, capture_output=True, text=True, check=False)
    ready = 0 if done.returncode else sum(model["state"] == "ready" for model in json.loads(done.stdout)["models"])
    if ready != models:
        last = done.stderr.strip().splitlines()[-1:]
        raise CannotMeasureError(f"the volume is not warm: {ready} of {models} models are ready. {' '.join(last)}")


def _commands(folder: Path) -> dict[str, tuple[str, ...]]:
    comfyport = find("comfyport")
    if comfyport is None:
        raise CannotMeasureError("comfyport is not installed beside this Python; see CONTRIBUTING.md")
    commands: dict[str, tuple[str, ...]] = {
        "src/download-models.sh": (str(SCRIPT),),
        "python -c pass": (sys.executable, "-c", "pass"),
        "comfyport --help": (comfyport, "--help"),
    }
    if importlib.util.find_spec("huggingface_hub"):
        commands["hf_hub_download, one file"] = _warm_hub_client(folder)
    return commands


def _warm_hub_client(folder: Path) -> tuple[str, ...]:
    """huggingface_hub with one file that it has already: its notes are the commit, the etag and the time."""
    place, name = folder / "hub", "model-0.bin"
    _sparse(place / name, MIB)
    notes = place / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    notes.parent.mkdir(parents=True)
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    notes.write_text(f"{REVISION}\n{sha256}\n{(place / name).stat().st_mtime + 1}\n", encoding="utf-8")
    return (sys.executable, str(HUB_CLIENT), str(place), REPOSITORY, REVISION, name)


def _measure(
    folder: Path, commands: dict[str, tuple[str, ...]], environment: dict[str, str], runs: int
) -> tuple[Row, ...]:
    taken: dict[str, list[Usage]] = {name: [] for name in commands}
    log = folder / "output.log"
    for _ in range(runs):
        for name, command in commands.items():
            usage = measure.run([command], environment=environment, folder=folder, log=log, time_limit=TIME_LIMIT)
            if usage.problem:
                say(f"{name}: {usage.problem}\n{measure.tail(log)}")
            taken[name].append(usage)
    return tuple(Row(name, tuple(usages)) for name, usages in taken.items())


def _sockets(folder: Path, environment: dict[str, str]) -> int | None:
    """How many network sockets the script opens; None if strace is not installed or may not trace here."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    trace = folder / "sockets.log"
    command = [strace, "-f", "-e", "trace=socket", "-o", str(trace), str(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    # The shell looks the user up, for which the C library tries a local (AF_UNIX) socket.
    return None if done.returncode else len(re.findall(r"socket\(AF_INET", trace.read_text(encoding="utf-8")))


def _cells(row: Row) -> list[str]:
    if row.cpu_seconds is None or row.peak_bytes is None:
        return [row.label, "-", "-", "-"]
    return [
        row.label,
        spread([run.seconds for run in row.good], 3),
        f"{row.cpu_seconds:.3f}",
        megabytes(row.peak_bytes, measure.own_peak_bytes()),
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.warm_start", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=count, default=60, metavar="N", help="models on the volume (60)")
    parser.add_argument("--size", type=count, default=2048, metavar="MIB", help="the size of each, sparse (2048)")
    parser.add_argument("--runs", type=count, default=10, metavar="N", help="runs of each command (10)")
    parser.add_argument("--folder", type=Path, help="where the volume is made (the temporary folder)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
