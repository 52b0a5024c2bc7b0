"""`comfyport models`: sync, plan, verify."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyport.cli.console import Reporter
from comfyport.models import lock, plan
from comfyport.models.access import Access
from comfyport.models.lock import Entry
from comfyport.models.progress import Progress
from comfyport.models.sync import Sync, verify
from comfyport.models.volume import Volume
from comfyport.settings import Settings
from comfyport.status import Board

app = typer.Typer(help="The models on the volume.", no_args_is_help=True)

# A thread that waits for a silent server hears of a stop only when its time-out ends.
STOP_SECONDS = 2.0
WORK_LEFT = 3

LockOption = Annotated[Path | None, typer.Option("--lock", help="The lock file; else COMFYPORT_LOCK.")]
VolumeOption = Annotated[Path | None, typer.Option("--volume", help="The volume; else COMFYPORT_VOLUME.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("sync")
def sync_command(lock: LockOption = None, volume: VolumeOption = None, as_json: JsonOption = False) -> None:
    """Fetch what the lock asks for and the volume lacks."""
    settings, entries, place = _ask(lock, volume)
    stop = _stop_on_signal()
    reporter = Reporter(Progress(entries), Board(settings.run_folder))
    with reporter:
        result = Sync(entries, place, _access(settings), observe=reporter.observe, stop=stop).run()
    fetched = sum(model.bytes for model in result.models)
    failed = sum(model.state == "failed" for model in result.models)
    typer.echo(
        f"models: {len(result.models) - failed} of {len(result.models)} ready, "
        f"{fetched / 1e6:.1f} MB downloaded in {result.seconds:.1f} s",
        err=True,
    )
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    if not result.ok:
        raise typer.Exit(1)


@app.command("plan")
def plan_command(lock: LockOption = None, volume: VolumeOption = None, as_json: JsonOption = False) -> None:
    """Show what `sync` would do, and do nothing."""
    _, entries, place = _ask(lock, volume)
    made = plan.make(entries, state=place.state, receipt=place.receipt)
    if as_json:
        typer.echo(json.dumps(_plan_document(made)))
    else:
        for action in made.actions:
            typer.echo(f"{action.kind:<10} {action.entry.path}{action.reason and f' ({action.reason})'}")
        typer.echo(f"{made.bytes_to_fetch / 1e6:.1f} MB to fetch")
    if made.work:
        raise typer.Exit(WORK_LEFT)


@app.command("verify")
def verify_command(
    lock: LockOption = None,
    volume: VolumeOption = None,
    full: Annotated[bool, typer.Option("--full", help="Read every byte.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that the volume holds what the lock asks for."""
    _, entries, place = _ask(lock, volume)
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


def _ask(lock_file: Path | None, volume: Path | None) -> tuple[Settings, tuple[Entry, ...], Volume]:
    settings = Settings.load()
    entries = lock.load(lock_file or settings.lock).choose(settings.model_groups)
    return settings, entries, Volume(volume or settings.volume_folder, staging=settings.staging)


def _access(settings: Settings) -> Access:
    return Access(settings.hf_endpoint, settings.hf_token.reveal(), os.environ)


def _plan_document(made: plan.Plan) -> dict[str, Any]:
    return {
        "ok": not made.work,
        "bytes_to_fetch": made.bytes_to_fetch,
        "models": [
            {
                "path": action.entry.path,
                "action": action.kind,
                "reason": action.reason,
                "size": action.entry.size,
            }
            for action in made.actions
        ],
    }


def _stop_on_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set; the process ends with 128 + signal soon after, whatever it waits for."""
    stop = threading.Event()

    def ask_to_stop(number: int, _frame: object) -> None:
        stop.set()
        end = threading.Timer(STOP_SECONDS, os._exit, (128 + number,))
        end.daemon = True
        end.start()
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    return stop
