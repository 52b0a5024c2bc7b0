"""The Python packages of all custom nodes, resolved together and installed beside those of the image.

    <packages>/<key>/                            what ComfyUI's Python lacks, to be put on its PYTHONPATH
    <packages>/<key>/.comfyport-packages.json    what was installed

The key is a hash of what the nodes ask for, the Python, its packages and the constraints: if none of them has changed,
the folder is right and nothing is asked of any index. What the image has is used as it is wherever it satisfies the
nodes; torch and what belongs to it is held by constraints, so that a node that asks for another torch fails by name
instead of replacing it. pip does the work, since it reports what it would install beside an environment as data
(https://pip.pypa.io/en/stable/reference/installation-report/); it obeys PIP_INDEX_URL and its other settings.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyport.errors import NodeRequirements
from comfyport.nodes.interpreter import Interpreter, is_torch, normal
from comfyport.nodes.requirements import Requirements

logger = logging.getLogger(__name__)

RECORD = ".comfyport-packages.json"
FORMAT = 1
TIMEOUT_SECONDS = 3600
REASON_LINES = 12

Asked = Mapping[str, Requirements]


class PipFailed(Exception):
    """pip ended with an error; the message is the end of its own words."""


@dataclass(frozen=True)
class Provided:
    """What came of it: the folder for PYTHONPATH, None if none is needed, and what failed, by node."""

    folder: Path | None
    failed: dict[str, NodeRequirements] = field(default_factory=dict)


class Packages:
    """The packages of nodes for one Python, below `root`; without a `root`, in that Python's own environment."""

    def __init__(self, interpreter: Interpreter, *, constraints: str = "", root: Path | None = None) -> None:
        """`constraints` is the text of a constraints file."""
        self.interpreter = interpreter
        self.constraints = constraints
        self.root = root

    def key(self, asked: Asked) -> str:
        """What the folder for these nodes is called: 32 hex digits."""
        lines = sorted({line for each in asked.values() for line in each.lines})
        indexes = sorted({index for each in asked.values() for index in each.indexes})
        basis = [FORMAT, lines, indexes, self.interpreter.tag, self.interpreter.installed, self.constraints]
        return hashlib.sha256(json.dumps(basis).encode()).hexdigest()[:32]

    def present(self, asked: Asked) -> Provided | None:
        """What is there already for these nodes; None if something has to be done."""
        if not any(each.lines for each in asked.values()):
            return Provided(None)
        folder = self.root / self.key(asked) if self.root else None
        return Provided(folder) if folder and (folder / RECORD).is_file() else None

    def provide(self, asked: Asked, work: Path) -> Provided:
        """Installs what is missing, working in the folder `work`; a node that does not fit is named, others go on."""
        asking = {name: each for name, each in asked.items() if each.lines}
        if there := self.present(asking):
            return there
        try:
            pinned, fitting, failed = self._resolve_what_fits(asking, work)
            if self.root is None:
                self._install(pinned, fitting, work, target=None)
                return Provided(None, failed)
            if there := self.present(fitting):
                return Provided(there.folder, failed)
            return Provided(self._place(pinned, fitting, work), failed)
        except (PipFailed, OSError) as error:
            return Provided(None, {name: NodeRequirements(name, str(error)) for name in asking})

    def _resolve_what_fits(
        self, asked: Asked, work: Path
    ) -> tuple[list[str], dict[str, Requirements], dict[str, NodeRequirements]]:
        """Pinned packages for as many nodes as fit together, in the lock's order; those nodes; and the others."""
        try:
            return self._resolve(asked, work), dict(asked), {}
        except PipFailed as error:
            if len(asked) == 1:
                return [], {}, {name: NodeRequirements(name, str(error)) for name in asked}
        fitting: dict[str, Requirements] = {}
        failed: dict[str, NodeRequirements] = {}
        pinned: list[str] = []
        for name, each in asked.items():
            more = {**fitting, name: each}
            try:
                # What was installed for them before needs no index that may be out of reach now.
                pinned = [] if self.present(more) else self._resolve(more, work)
                fitting = more
            except PipFailed as error:
                failed[name] = NodeRequirements(name, str(error))
        return pinned, fitting, failed

    def _resolve(self, asked: Asked, work: Path) -> list[str]:
        """The packages that the interpreter lacks for these nodes, pinned. Raises PipFailed."""
        (work / "nodes").mkdir(exist_ok=True)
        for name, each in asked.items():
            # pip names the file in its messages, and so the node.
            (work / "nodes" / f"{name}.txt").write_text("".join(f"{line}\n" for line in each.lines), encoding="utf-8")
        held = work / "constraints.txt"
        held.write_text("\n".join([self.constraints, *self.interpreter.pins(), ""]), encoding="utf-8")
        report = work / "report.json"
        given = [f"--constraint={held.name}", *(f"--requirement=nodes/{name}.txt" for name in asked), *_indexes(asked)]
        self._pip("install", "--dry-run", f"--report={report}", *given, work=work)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        replaced = [item["metadata"]["name"] for item in found if is_torch(item["metadata"]["name"])]
        if replaced := [name for name in replaced if self.interpreter.has(normal(name))]:
            raise PipFailed(f"{', '.join(replaced)} of the image would be replaced")
        return sorted(_pin(item) for item in found)

    def _place(self, pinned: list[str], asked: Asked, work: Path) -> Path | None:
        """Installs into a folder in `work`, then renames it to its place: whole, or not at all."""
        assert self.root is not None  # noqa: S101 - the caller has looked
        if not any(each.lines for each in asked.values()):
            return None
        made, folder = work / "packages", self.root / self.key(asked)
        made.mkdir()
        self._install(pinned, asked, work, target=made)
        record = {"packages": pinned, "nodes": sorted(asked), "python": self.interpreter.tag}
        (made / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            made.rename(folder)
        except OSError as error:
            # Another container was faster, with the same.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        return folder

    def _install(self, pinned: list[str], asked: Asked, work: Path, *, target: Path | None) -> None:
        if not pinned:
            return
        logger.info("installing packages for nodes packages=%s", " ".join(pinned))
        listed = work / "pinned.txt"
        listed.write_text("".join(f"{line}\n" for line in pinned), encoding="utf-8")
        into = (f"--target={target}",) if target else ()
        self._pip("install", "--no-deps", f"--requirement={listed.name}", *into, *_indexes(asked), work=work)

    def _pip(self, command: str, *options: str, work: Path) -> None:
        """Raises PipFailed."""
        # The second call finds in the cache what the first has fetched.
        always = ("--no-input", "--no-color", "--disable-pip-version-check", f"--cache-dir={work / 'pip'}")
        try:
            done = subprocess.run(
                [*self._pip_program(), command, *always, *options],
                cwd=work,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PipFailed(f"pip was ended after {TIMEOUT_SECONDS} s") from None
        if done.returncode:
            raise PipFailed(_reason(done.stdout, done.stderr) or f"pip ended with exit status {done.returncode}")

    def _pip_program(self) -> list[str]:
        python = str(self.interpreter.python)
        if self.interpreter.has("pip"):
            return [python, "-I", "-m", "pip"]
        # Environments made by uv have none; ours works on any Python.
        return [sys.executable, "-I", "-m", "pip", f"--python={python}"]


def prune(root: Path, keep: Path | None) -> list[str]:
    """Removes the package folders that nobody has asked for; the names of those removed."""
    gone = [folder for folder in sorted(root.iterdir()) if folder != keep] if root.is_dir() else []
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in gone]


def _indexes(asked: Asked) -> list[str]:
    named = {index for each in asked.values() for index in each.indexes}
    return [f"--extra-index-url={index}" for index in sorted(named)]


def _pin(item: dict[str, Any]) -> str:
    """One package of pip's report as a line that gives it again."""
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    if not item.get("is_direct"):
        return f"{name}=={version}"
    origin = item["download_info"]
    vcs = origin.get("vcs_info")
    return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else f"{name} @ {origin['url']}"


def _reason(output: str, errors: str) -> str:
    """Why pip gave up, on one line: its errors, and who asked for what if requirements conflict."""
    lines = [line.strip() for line in errors.splitlines()]
    telling = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or [*filter(None, lines)]
    _, _, conflict = output.partition("The conflict is caused by:")
    causes = [line.strip() for line in conflict.partition("To fix this")[0].splitlines() if line.strip()]
    return re.sub(r"//[^/@\s]+@", "//", "; ".join([*causes, *telling[:REASON_LINES]]))[:1500]
