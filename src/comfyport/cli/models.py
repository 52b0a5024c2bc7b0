"""`comfyport models`: sync, plan, verify, gc."""

import json
from typing import Annotated

import typer

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
