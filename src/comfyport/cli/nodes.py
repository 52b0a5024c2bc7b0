"""`comfyport nodes`: add, list, remove, sync, bake.

What the commands do is loaded when one is called: a start of the container loads this file too, and needs none of it.
"""

from pathlib import Path
from typing import Annotated

import typer

from comfyport.cli.options import JsonOption, VolumeOption

app = typer.Typer(help="The custom nodes of ComfyUI.", no_args_is_help=True)

NodesLockOption = Annotated[
    Path | None, typer.Option("--lock", help="The lock of the nodes; else COMFYPORT_NODES_LOCK.")
]


@app.command("add")
def add_command(
    what: Annotated[
        list[str] | None, typer.Argument(help="Git addresses, or registry ids such as comfyui-kjnodes@1.1.6.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The folder, if not that of the source.")] = None,
    ref: Annotated[str | None, typer.Option(help="A branch, a tag or a commit of the git address.")] = None,
    snapshot: Annotated[Path | None, typer.Option(metavar="FILE", help="A snapshot of ComfyUI-Manager.")] = None,
    lock: NodesLockOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pin nodes in the lock: at the commit that a git address is at now, or at a version of the registry."""
    from comfyport.cli import node_lock

    node_lock.add(what or [], lock, name=name, ref=ref, from_snapshot=snapshot, as_json=as_json)


@app.command("list")
def list_command(lock: NodesLockOption = None, volume: VolumeOption = None, as_json: JsonOption = False) -> None:
    """Show the nodes of the lock: pinned where, installed or not, and what failed."""
    from comfyport.cli import node_lock

    node_lock.show(lock, volume, as_json=as_json)


@app.command("remove")
def remove_command(
    names: Annotated[list[str], typer.Argument(help="Their folders.")],
    lock: NodesLockOption = None,
    volume: VolumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take nodes out of the lock and off the volume; a folder that comfyport did not put there stays."""
    from comfyport.cli import node_lock

    node_lock.remove(names, lock, volume, as_json=as_json)


@app.command("sync")
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
    from comfyport.cli import node_sync

    if command:
        node_sync.become(command, lock, volume)
    node_sync.sync(lock, volume, prune=prune, as_json=as_json)


@app.command("bake")
def bake_command(lock: NodesLockOption = None, as_json: JsonOption = False) -> None:
    """Install the nodes of the lock into ComfyUI's own folder and Python: for building an image."""
    from comfyport.cli import node_sync

    node_sync.bake(lock, as_json=as_json)
