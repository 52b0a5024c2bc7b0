"""`comfyport models verify`: whether the volume holds what the lock asks for."""

import json
from typing import Annotated

import typer

from comfyport.cli.console import CHECK, Reporter
from comfyport.cli.options import JsonOption, LockedOption, LockOption, VolumeOption, ask
from comfyport.cli.plan import WORK_LEFT
from comfyport.cli.signals import stop_on_signal
from comfyport.models.lock import require_locked
from comfyport.models.progress import Progress
from comfyport.models.verify import verify


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
    stop = stop_on_signal()
    with Reporter(Progress(entries), CHECK) as reporter:
        problems = verify(entries, place, full=full, observe=reporter.observe, stop=stop)
    if as_json:
        listed = [{"path": entry.path, "problem": reason} for entry, reason in problems]
        typer.echo(json.dumps({"ok": not problems, "checked": len(entries), "problems": listed}))
    else:
        for entry, reason in problems:
            typer.echo(f"{entry.path}: {reason}")
        typer.echo(f"{len(entries) - len(problems)} of {len(entries)} models are right")
    if problems:
        raise typer.Exit(WORK_LEFT)
