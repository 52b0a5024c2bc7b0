"""`comfyport models`: sync, plan, verify, gc."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyport.cli.options import JsonOption, LockedOption, LockOption, VolumeOption, ask
from comfyport.cli.prefetch import prefetch_command
from comfyport.cli.sync import sync_command
from comfyport.models import gc, lock, plan
from comfyport.models.lock import require_locked
from comfyport.models.verify import verify

app = typer.Typer(help="The models on the volume.", no_args_is_help=True)

WORK_LEFT = 3

app.command("sync")(sync_command)
app.command("prefetch")(prefetch_command)


@app.command("plan")
def plan_command(
    lock_file: LockOption = None, volume: VolumeOption = None, locked: LockedOption = False, as_json: JsonOption = False
) -> None:
    """Show what `sync` would do, and do nothing."""
    settings, entries, place = ask(lock_file, volume)
    if locked:
        require_locked(str(lock_file or settings.lock), entries)
    whole = lock.load(lock_file or settings.lock).models
    made = plan.make(entries, state=place.state, receipt=place.receipt, managed=place.managed(), lock=whole)
    free = _free_bytes(place.models)
    if as_json:
        typer.echo(json.dumps(_plan_document(made, free)))
    else:
        _show_plan(made, free)
    if made.work:
        raise typer.Exit(WORK_LEFT)


@app.command("verify")
def verify_command(
    lock_file: LockOption = None,
    volume: VolumeOption = None,
    full: Annotated[bool, typer.Option("--full", help="Read every byte.")] = False,
    locked: LockedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check that the volume holds what the lock asks for."""
    settings, entries, place = ask(lock_file, volume)
    if locked:
        require_locked(str(lock_file or settings.lock), entries)
    problems = verify(entries, place, full=full)
    if as_json:
        listed = [{"path": entry.path, "problem": reason} for entry, reason in problems]
        typer.echo(json.dumps({"ok": not problems, "checked": len(entries), "problems": listed}))
    else:
        for entry, reason in problems:
            typer.echo(f"{entry.path}: {reason}")
        typer.echo(f"{len(entries) - len(problems)} of {len(entries)} models are right")
    if problems:
        raise typer.Exit(WORK_LEFT)


@app.command("gc")
def gc_command(
    lock_file: LockOption = None,
    volume: VolumeOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove managed files that the lock no longer names, and what broken downloads left."""
    settings, _, place = ask(lock_file, volume)
    whole = lock.load(lock_file or settings.lock).models
    removal = gc.plan_removal(whole, place)
    if not dry_run:
        gc.remove(removal, whole, place)
    if as_json:
        listed = {"files": removal.files, "parts": [part.name for part in removal.parts], "leases": removal.leases}
        typer.echo(json.dumps({"ok": True, "dry_run": dry_run, "bytes": removal.bytes, **listed}))
        return
    verb = "would remove" if dry_run else "removed"
    for name in (*removal.files, *(part.name for part in removal.parts), *removal.leases):
        typer.echo(f"{verb} {name}")
    typer.echo(f"{verb} {removal.bytes / 1e6:.1f} MB in all")


def _show_plan(made: plan.Plan, free: int) -> None:
    for action in made.actions:
        typer.echo(f"{action.kind:<10} {action.entry.path}{action.reason and f' ({action.reason})'}")
    for path in made.orphaned:
        typer.echo(f"{'orphaned':<10} {path} (`comfyport models gc` removes it)")
    for share in made.by_group if len(made.by_group) > 1 else ():
        typer.echo(
            f"group {share.group or 'none'}: {share.have} of {share.files} there, "
            f"{share.bytes_to_fetch / 1e6:.1f} of {share.bytes / 1e6:.1f} MB to fetch"
        )
    typer.echo(f"{made.bytes_to_fetch / 1e6:.1f} MB to fetch, {free / 1e6:.1f} MB free")


def _plan_document(made: plan.Plan, free: int) -> dict[str, Any]:
    return {
        "ok": not made.work,
        "bytes_to_fetch": made.bytes_to_fetch,
        "bytes_free": free,
        "models": [
            {"path": action.entry.path, "action": action.kind, "reason": action.reason, "size": action.entry.size}
            for action in made.actions
        ],
        "orphaned": list(made.orphaned),
        "groups": {share.group: {"files": share.files, "have": share.have} for share in made.by_group},
    }


def _free_bytes(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
