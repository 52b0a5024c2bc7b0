"""The custom nodes: those of the lock, and whether ComfyUI's Python has what they ask for."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from comfyport.doctor.finding import Finding, State
from comfyport.nodes.interpreter import Interpreter, normal
from comfyport.nodes.lock import Node
from comfyport.nodes.packages import Packages
from comfyport.nodes.places import Place, survey
from comfyport.nodes.requirements import Requirements, read_all
from comfyport.nodes.startup import packages_of

AREA = "nodes"
SYNC = "`comfyport nodes sync` brings it"


def examine(
    nodes: Sequence[Node], *, volume: Place, image: Place, python: Path, constraints: str, may_sync: bool
) -> Iterator[Finding]:
    """Findings on the nodes of the lock and on those that a person has put on the volume. Raises NodeError."""
    told = "the next start does" if may_sync else "SYNC_NODES_ON_STARTUP is off, so that no start does"
    ours: list[str] = []
    if not nodes:
        yield Finding(AREA, "lock", "ok", "no custom node is pinned")
    for finding in survey(nodes, volume=volume, image=image):
        name, pin = finding.node.name, finding.node.source.pin
        if finding.state in ("baked", "installed"):
            yield Finding(AREA, name, "ok", f"{finding.state}, {pin}")
            ours += [name] if finding.state == "installed" else []
        elif finding.state == "blocked":
            yield Finding(AREA, name, "problem", f"the folder {finding.reason.partition(': ')[0]}", finding.reason)
        else:
            yield Finding(AREA, name, _left(may_sync), f"{finding.state}, wanted at {pin}", f"{SYNC}; {told}.")
    interpreter = Interpreter.ask(python)
    yield from _requirements_of_ours(ours, volume, interpreter, constraints, told, may_sync)
    yield from _requirements_of_others(volume, image, interpreter, {node.name for node in nodes})


def _requirements_of_ours(
    names: Sequence[str], volume: Place, interpreter: Interpreter, constraints: str, told: str, may_sync: bool
) -> Iterator[Finding]:
    asked, refused = read_all(names, volume.nodes)
    for name, error in refused.items():
        yield Finding(AREA, name, "problem", error.message, "Pin another version of the node.")
    if Packages(interpreter, constraints=constraints, root=packages_of(volume)).present(asked) is None:
        named = ", ".join(sorted(name for name, each in asked.items() if each.lines))
        yield Finding(
            AREA, "packages", _left(may_sync), f"not installed yet for {named}", f"`comfyport nodes sync`; {told}."
        )


def _requirements_of_others(
    volume: Place, image: Place, interpreter: Interpreter, known: set[str]
) -> Iterator[Finding]:
    """Nodes that nobody's lock names: comfyport installs nothing for them."""
    for place in (volume, image):
        folders = sorted(path for path in place.nodes.iterdir() if path.is_dir()) if place.nodes.is_dir() else []
        names = [path.name for path in folders if path.name not in known and not path.name.startswith((".", "_"))]
        asked, refused = read_all(names, place.nodes)
        for name in refused:
            yield Finding(AREA, name, "note", refused[name].message, "Look at what it asks for yourself.")
        for name, each in asked.items():
            if lacking := _lacking(each, interpreter):
                found = f"in {place.nodes}, not in the lock; lacks {', '.join(lacking)}"
                yield Finding(AREA, name, "problem", found, "Pin it with `comfyport nodes add`, which installs them.")


def _left(may_sync: bool) -> State:
    return "work" if may_sync else "problem"


def _lacking(asked: Requirements, interpreter: Interpreter) -> list[str]:
    """Packages by name; versions and markers are pip's business."""
    plain = (line.partition(";")[0] for line in asked.lines if ";" not in line)
    names = (found[0] for line in plain if (found := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)))
    return [name for name in names if not interpreter.has(normal(name))]
