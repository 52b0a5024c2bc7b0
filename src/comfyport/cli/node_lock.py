"""`comfyport nodes add`, `list` and `remove`: the lock of the custom nodes, and what stands of it."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from comfyport.cli.node_options import Asked, ask, git_of, load_or_new, registry_of
from comfyport.errors import UnknownNode, UsageError
from comfyport.nodes import lock as locks
from comfyport.nodes import snapshot
from comfyport.nodes.lock import Node
from comfyport.nodes.places import survey
from comfyport.nodes.resolve import resolve
from comfyport.nodes.sync import last_failures


def add(
    what: list[str],
    lock: Path | None,
    *,
    name: str | None,
    ref: str | None,
    from_snapshot: Path | None,
    as_json: bool,
) -> None:
    """Pins what a person names, or a snapshot holds, and saves the lock once all of it was found."""
    asked = ask(lock, None)
    current = load_or_new(asked.file)
    wanted = [snapshot.Wanted(text, ref) for text in what]
    if (name or ref) and len(wanted) != 1:
        raise UsageError("--name and --ref go with one node at a time.")
    if from_snapshot:
        read = snapshot.read(from_snapshot)
        wanted += read.wanted
        for remark in read.remarks:
            typer.echo(f"nodes: {remark}", err=True)
    git, registry = git_of(asked.settings), registry_of(asked.settings)
    added = [resolve(each.text, git=git, registry=registry, name=name, ref=each.ref) for each in wanted]
    folders = [node.name.casefold() for node in added]
    if twice := next((node.name for node in added if folders.count(node.name.casefold()) > 1), None):
        raise UsageError(f"Two of these nodes would be in the folder {twice}. Add one of them with another --name.")
    locks.save(current.with_nodes(added), asked.file)
    for node in added:
        typer.echo(f"nodes: {node.name} is pinned at {node.source.pin}", err=True)
    if as_json:
        typer.echo(json.dumps({"ok": True, "lock": str(asked.file), "nodes": [_entry(node) for node in added]}))


def show(lock: Path | None, volume: Path | None, *, as_json: bool) -> None:
    """Prints how each node of the lock stands, and what of ours the lock no longer names."""
    rows = _rows(ask(lock, volume))
    if as_json:
        typer.echo(json.dumps({"nodes": rows}))
        return
    table = Table("node", "pinned at", "state", "remark", box=None)
    for row in rows:
        table.add_row(row["name"], row["pin"], row["state"], row["reason"])
    Console().print(table)


def remove(names: list[str], lock: Path | None, volume: Path | None, *, as_json: bool) -> None:
    """Takes nodes out of the lock, and those that are ours off the volume."""
    asked = ask(lock, volume)
    current = load_or_new(asked.file)
    listed, managed = {node.name for node in current.nodes}, asked.volume.managed()
    if unknown := [name for name in names if name not in listed and name not in managed]:
        raise UnknownNode(f"There is no node {', '.join(unknown)} in {asked.file}, nor one of ours on the volume.")
    if listed.intersection(names):
        locks.save(current.without(names), asked.file)
    removed = [name for name in names if asked.volume.remove(name)]
    for name in names:
        kept = name not in removed and asked.volume.holds(name)
        place = "its folder on the volume is your own and stays" if kept else "removed"
        baked = "; it stays in the image until that is built anew" if asked.image.holds(name) else ""
        typer.echo(f"nodes: {name}: {place}{baked}", err=True)
    if as_json:
        typer.echo(json.dumps({"ok": True, "removed": removed}))


def _rows(asked: Asked) -> list[dict[str, Any]]:
    nodes = load_or_new(asked.file).nodes
    failures = last_failures(asked.volume)
    rows = []
    for finding in survey(nodes, volume=asked.volume, image=asked.image):
        failure = failures.get(finding.node.name, {})
        # What failed at another pin says nothing about this one.
        failed = failure.get("pin") == finding.node.source.pin and finding.state != "baked"
        reason = failure["message"] if failed else finding.reason
        state = "failed" if failed or finding.state == "blocked" else finding.state
        rows.append({**_entry(finding.node), "state": state, "reason": reason})
    named = {node.name for node in nodes}
    orphaned = [name for name in asked.volume.managed() if name not in named]
    remark = "`comfyport nodes sync --prune` removes it"
    return rows + [
        {"name": name, "pin": asked.volume.pin(name), "state": "orphaned", "reason": remark} for name in orphaned
    ]


def _entry(node: Node) -> dict[str, Any]:
    return {"name": node.name, "pin": node.source.pin}
