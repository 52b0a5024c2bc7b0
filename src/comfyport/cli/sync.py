"""`comfyport models sync`: the download step."""

import json
import os
import signal
import sys
import threading

import typer

from comfyport.cli.console import Reporter
from comfyport.cli.options import JsonOption, LockedOption, LockOption, VolumeOption, access_of, ask
from comfyport.models import caches
from comfyport.models.lock import require_locked
from comfyport.models.progress import Progress
from comfyport.models.sync import Sync, SyncResult
from comfyport.status import Board

# A thread that waits for a silent server hears of a stop only when its time-out ends.
STOP_SECONDS = 2.0


def sync_command(
    lock: LockOption = None, volume: VolumeOption = None, locked: LockedOption = False, as_json: JsonOption = False
) -> None:
    """Fetch what the lock asks for and the volume lacks."""
    settings, entries, place = ask(lock, volume)
    if locked:
        require_locked(str(lock or settings.lock), entries)
    sync = Sync(
        entries,
        place,
        access_of(settings),
        hubs=caches.hubs(place.root, settings.hf_home),
        connections=settings.connections,
        stop=_stop_on_signal(),
    )
    reporter = Reporter(Progress(entries), Board(settings.run_folder), prefer=sync.prefer)
    sync.observe = reporter.observe
    with reporter:
        result = sync.run()
    typer.echo(_summary(result), err=True)
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    if not result.ok:
        raise typer.Exit(1)


def _summary(result: SyncResult) -> str:
    fetched = sum(model.bytes for model in result.models)
    ready = sum(model.state != "failed" for model in result.models)
    return f"models: {ready} of {len(result.models)} ready, {fetched / 1e6:.1f} MB downloaded in {result.seconds:.1f} s"


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
