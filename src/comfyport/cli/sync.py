"""`comfyport models sync`: the download step."""

import json
import logging

import typer

from comfyport import supply
from comfyport.cli.console import BRING, Reporter
from comfyport.cli.options import JsonOption, LockedOption, LockOption, VolumeOption, ask
from comfyport.cli.signals import stop_on_signal
from comfyport.models import caches
from comfyport.models.lock import require_locked
from comfyport.models.progress import Progress
from comfyport.models.sync import Sync, SyncResult
from comfyport.status import Board

logger = logging.getLogger(__name__)


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
        supply.access(settings),
        hubs=caches.hubs(place.root, settings.hf_home),
        connections=settings.connections,
        stop=stop_on_signal(),
    )
    state = Progress(entries)
    reporter = Reporter(state, BRING, also=_Notices(Board(settings.run_folder), state, sync).exchange)
    sync.observe = reporter.observe
    with reporter:
        result = sync.run()
    typer.echo(_summary(result), err=True)
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    if not result.ok:
        raise typer.Exit(1)


class _Notices:
    """Tells the status board how far the download is, and the download what the board says is wanted."""

    def __init__(self, board: Board, state: Progress, sync: Sync) -> None:
        self._board = board
        self._state = state
        self._sync = sync
        self._wanted: set[str] = set()
        self._warned = False

    def exchange(self) -> None:
        """Does both once. A board that cannot be written to keeps no model from being fetched."""
        try:
            wanted = set((self._board.read("wanted") or {}).get("names", ()))
            if wanted != self._wanted:
                self._wanted = wanted
                self._sync.prefer(wanted)
            self._board.write("models", self._state.as_section())
        except OSError as error:
            if not self._warned:
                self._warned = True
                logger.warning("the status board cannot be used folder=%s error=%s", self._board.directory, error)


def _summary(result: SyncResult) -> str:
    fetched = sum(model.bytes for model in result.models)
    ready = sum(model.state != "failed" for model in result.models)
    return f"models: {ready} of {len(result.models)} ready, {fetched / 1e6:.1f} MB downloaded in {result.seconds:.1f} s"
