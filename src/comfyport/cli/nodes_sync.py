"""`comfyport nodes sync` and `bake`: bring the custom nodes of the lock to the volume, or into the image."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyport.cli.node_options import Asked, NodesLockOption, ask, git_of, registry_of
from comfyport.cli.options import JsonOption, VolumeOption
from comfyport.errors import ComfyportError, NodeError
from comfyport.nodes import packages, startup
from comfyport.nodes.events import Event, NodeFailed, NodeReady, NodeStarted, PackagesStarted
from comfyport.nodes.interpreter import Interpreter
from comfyport.nodes.packages import Packages
from comfyport.nodes.sync import Sync, SyncResult
from comfyport.status import Board

logger = logging.getLogger(__name__)


def sync_command(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Become this when done, whatever has failed.")
    ] = None,
    lock: NodesLockOption = None,
    volume: VolumeOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove our nodes that the lock no longer names.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the nodes of the lock to the volume, and their Python packages to ComfyUI."""
    if command:
        _become(command, lock, volume)
    asked = ask(lock, volume)
    result = _sync(asked)
    removed = _prune(asked, result) if prune and result.ok else []
    _report(result, as_json, removed=removed)


def bake_command(lock: NodesLockOption = None, as_json: JsonOption = False) -> None:
    """Install the nodes of the lock into ComfyUI's own folder and Python: for building an image."""
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


def _become(command: list[str], lock: Path | None, volume: Path | None) -> None:
    """Syncs, then becomes `command`; ComfyUI shall start without its nodes rather than not at all."""
    environ = dict(os.environ)
    try:
        environ = startup.with_packages(environ, _sync(ask(lock, volume)).packages)
    except ComfyportError as error:
        typer.echo(f"nodes: {error.message}", err=True)
    os.execvpe(command[0], command, environ)  # noqa: S606 - that is what the command is for


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
