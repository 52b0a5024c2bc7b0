"""`comfyport nodes sync` and `bake`: bring the custom nodes of the lock to the volume, or into the image."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import typer

from comfyport.cli.node_options import Asked, ask, git_of, registry_of
from comfyport.errors import ComfyportError, NodeError
from comfyport.nodes import packages, startup
from comfyport.nodes.events import Event, NodeFailed, NodeReady, NodeStarted, PackagesStarted
from comfyport.nodes.interpreter import Interpreter
from comfyport.nodes.packages import Packages
from comfyport.nodes.sync import Sync, SyncResult
from comfyport.status import Board


def sync(lock: Path | None, volume: Path | None, *, prune: bool, as_json: bool) -> None:
    """Brings the volume up to date and tells how it went; ends the program with 1 if a node failed."""
    asked = ask(lock, volume)
    result = _sync(asked)
    removed = _prune(asked, result) if prune and result.ok else []
    _report(result, as_json, removed=removed)


def become(command: list[str], lock: Path | None, volume: Path | None) -> NoReturn:
    """Syncs, then becomes `command`; ComfyUI shall start without its nodes rather than not at all."""
    environ = dict(os.environ)
    try:
        environ = startup.with_packages(environ, _sync(ask(lock, volume)).packages)
    except ComfyportError as error:
        typer.echo(f"nodes: {error.message}", err=True)
    os.execvpe(command[0], command, environ)  # noqa: S606 - that is what the command is for


def bake(lock: Path | None, *, as_json: bool) -> None:
    """Puts the nodes into the image that is being built; ends the program with 1 if one failed."""
    asked = ask(lock, None)
    installation = asked.installation()
    result = Sync(
        asked.lock().nodes,
        asked.image,
        None,
        Packages(Interpreter.ask(installation.python), constraints=asked.constraints()),
        git_of(asked.settings),
        registry_of(asked.settings),
        observe=_say_event,
    ).run()
    shutil.rmtree(asked.image.work.parent.parent, ignore_errors=True)
    _report(result, as_json)


def _sync(asked: Asked) -> SyncResult:
    """The volume brought up to date, told on the notice board. Raises ComfyportError."""
    board = Board(asked.settings.run_folder)
    nodes = asked.lock().nodes
    board.write("nodes", {"state": "running", "nodes": []})
    try:
        result = Sync(
            nodes,
            asked.volume,
            asked.image,
            Packages(
                Interpreter.ask(asked.installation().python),
                constraints=asked.constraints(),
                root=startup.packages_of(asked.volume),
            ),
            git_of(asked.settings),
            registry_of(asked.settings),
            observe=_say_event,
        ).run()
    except OSError as error:
        raise NodeError(f"The volume {asked.volume.nodes.parent} cannot be used for nodes: {error.strerror}.") from None
    board.write("nodes", {"state": "done" if result.ok else "failed", "nodes": result.as_json()["nodes"]})
    return result


def _prune(asked: Asked, result: SyncResult) -> list[str]:
    """Removes our nodes that the lock does not name, and packages that none of them asks for; what was removed."""
    named = {node.name for node in asked.lock().nodes}
    gone = [name for name in asked.volume.managed() if name not in named and asked.volume.remove(name)]
    return gone + packages.prune(startup.packages_of(asked.volume), result.packages)


def _report(result: SyncResult, as_json: bool, *, removed: list[str] | None = None) -> None:
    good = sum(node.state != "failed" for node in result.nodes)
    typer.echo(f"nodes: {good} of {len(result.nodes)} ready in {result.seconds:.1f} s", err=True)
    for name in removed or ():
        typer.echo(f"nodes: removed {name}", err=True)
    if as_json:
        document: dict[str, Any] = result.as_json() | ({"removed": removed} if removed is not None else {})
        typer.echo(json.dumps(document))
    if not result.ok:
        raise typer.Exit(1)


def _say_event(event: Event) -> None:
    match event:
        case NodeStarted(name=name, source=source):
            text = f"fetching {name} ({source})"
        case NodeReady(name=name, seconds=seconds):
            text = f"{name} is in place, {seconds:.1f} s"
        case NodeFailed(message=message):
            text = f"failed: {message}"
        case PackagesStarted(names=names):
            text = f"resolving the Python packages of {', '.join(names)}"
    typer.echo(f"nodes: {text}", err=True)
