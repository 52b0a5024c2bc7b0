"""How ComfyUI is started so that it has its custom nodes, and at what cost: none if all of them are there.

ComfyUI imports nodes when it starts, so that those of the volume must stand before it does. If something is left to do,
its command becomes `comfyport nodes sync -- COMMAND`, which ends by becoming COMMAND, whether or not a node has failed.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from comfyport.errors import NodeError
from comfyport.nodes.interpreter import Interpreter
from comfyport.nodes.lock import Node
from comfyport.nodes.packages import Packages
from comfyport.nodes.places import Place, survey
from comfyport.nodes.requirements import read_all

SYNC = (sys.executable, "-m", "comfyport", "nodes", "sync", "--")


def with_nodes(
    command: Sequence[str],
    environ: Mapping[str, str],
    nodes: Sequence[Node],
    *,
    volume: Place,
    image: Place,
    python: Path,
    constraints: str,
    may_sync: bool = True,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command and the environment that start ComfyUI with `nodes`. Reads a few small files, asks no server.

    Without `may_sync`, ComfyUI gets what is there. Raises NodeError if `python` cannot be run.
    """
    line = tuple(command)
    syncing = (*SYNC, *line) if may_sync else line
    findings = survey(nodes, volume=volume, image=image)
    if may_sync and any(finding.state not in ("baked", "installed") for finding in findings):
        return syncing, dict(environ)
    on_volume = [finding.node.name for finding in findings if finding.state == "installed"]
    if not on_volume:
        return line, dict(environ)
    asked, refused = read_all(on_volume, volume.nodes)
    packages = Packages(Interpreter.ask(python), constraints=constraints, root=packages_of(volume))
    there = packages.present(asked)
    if there is None or (refused and may_sync):
        return syncing, dict(environ)
    return line, with_packages(environ, there.folder)


def constraints(file: Path | None) -> str:
    """The text of a constraints file, empty if there is none. Raises NodeError."""
    try:
        return file.read_text(encoding="utf-8") if file else ""
    except OSError as error:
        raise NodeError(
            f"The constraints {file} cannot be read: {error.strerror}. See COMFYPORT_CONSTRAINTS."
        ) from None


def with_packages(environ: Mapping[str, str], folder: Path | None) -> dict[str, str]:
    """`environ`, whose Python finds the packages in `folder` first."""
    if folder is None:
        return dict(environ)
    inherited = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{folder}:{inherited}" if inherited else str(folder)}


def packages_of(volume: Place) -> Path:
    """Where the packages of the volume's nodes lie."""
    return volume.work.parent / "packages"
