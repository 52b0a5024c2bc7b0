"""`comfyport models`: sync, plan, verify, gc, add, import, remove, lock, list, usage.

What looks at the lock and the volume for people is loaded when it is called: a start of the container needs none of it.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from comfyport.cli import model_add
from comfyport.cli.options import JsonOption, LockOption, VolumeOption, ask
from comfyport.cli.plan import plan_command
from comfyport.cli.prefetch import prefetch_command
from comfyport.cli.sync import sync_command
from comfyport.cli.verify import verify_command
from comfyport.models import amendments, gc

app = typer.Typer(help="The models on the volume.", no_args_is_help=True)

app.command("sync")(sync_command)
app.command("plan")(plan_command)
app.command("verify")(verify_command)
app.command("prefetch")(prefetch_command)
app.add_typer(model_add.app, name="add")


@app.command("import")
def import_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A workflow (JSON, or a PNG with one in it), a model-list.json of ComfyUI-Manager, a comfy.lock.yaml, "
            "a snapshot of comfy-pack, or a text with an address in each line."
        ),
    ],
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A group to put them into; may be repeated.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PATTERN", help="Only files of such a name, as *xl*.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be added.")] = False,
    lock_file: LockOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pin the models that a workflow or another tool's list names, without downloading them."""
    from comfyport.cli import model_import

    model_import.import_models(
        source, lock_file, groups=group or [], only=only or [], dry_run=dry_run, as_document=as_json
    )


@app.command("remove")
def remove_command(
    names: Annotated[list[str], typer.Argument(help="Their paths, or their names where only one has it.")],
    lock_file: LockOption = None,
    volume: VolumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take models out of the lock; `gc` takes their files off the volume."""
    from comfyport.cli import model_lock

    model_lock.remove_models(names, lock_file, volume, as_json=as_json)


@app.command("lock")
def lock_command(
    names: Annotated[list[str] | None, typer.Argument(help="Models; else all of the lock.")] = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Move pins to what the sources have now.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    lock_file: LockOption = None,
    volume: VolumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill in what the lock leaves open: commit, size and sha256, from metadata and the volume's receipts."""
    from comfyport.cli import model_lock

    model_lock.lock_models(names or [], lock_file, volume, upgrade=upgrade, dry_run=dry_run, as_json=as_json)


@app.command("list")
def list_command(
    group: Annotated[list[str] | None, typer.Option("--group", help="Only this group; may be repeated.")] = None,
    lock_file: LockOption = None,
    volume: VolumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the models of the lock, of all groups: size, state on the volume, sha256, source."""
    from comfyport.cli import model_list

    model_list.list_models(lock_file, volume, group or [], as_json=as_json)


@app.command("usage")
def usage_command(lock_file: LockOption = None, volume: VolumeOption = None, as_json: JsonOption = False) -> None:
    """Show what lies on the volume, by file, folder and group, what is orphaned, and what is free."""
    from comfyport.cli import model_list

    model_list.show_usage(lock_file, volume, as_json=as_json)


@app.command("gc")
def gc_command(
    lock_file: LockOption = None,
    volume: VolumeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove managed files that the lock no longer names, and what broken downloads left."""
    settings, _, place = ask(lock_file, volume)
    whole = amendments.load(lock_file or settings.lock, place).models
    removal = gc.plan_removal(whole, place)
    if not dry_run:
        gc.remove(removal, place)
    if as_json:
        listed = {"files": removal.files, "parts": [part.name for part in removal.parts], "leases": removal.leases}
        typer.echo(json.dumps({"ok": True, "dry_run": dry_run, "bytes": removal.bytes, **listed}))
        return
    verb = "would remove" if dry_run else "removed"
    for name in (*removal.files, *(part.name for part in removal.parts), *removal.leases):
        typer.echo(f"{verb} {name}")
    typer.echo(f"{verb} {removal.bytes / 1e6:.1f} MB in all")
