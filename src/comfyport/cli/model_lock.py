"""`comfyport models lock` and `remove`: the lock's pins filled in or moved, and entries taken out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from comfyport import supply
from comfyport.cli.plan import WORK_LEFT
from comfyport.cli.tables import show
from comfyport.models.adding import remove
from comfyport.models.lock import Entry, left_open
from comfyport.models.lock_file import LockFile
from comfyport.models.pins import Refreshed, recorded, refresh
from comfyport.models.resolve import Resolver
from comfyport.models.volume import Volume
from comfyport.settings import Settings

DIGEST_SHOWN = 12


def lock_models(
    names: Sequence[str],
    lock_file: Path | None,
    volume: Path | None,
    *,
    upgrade: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Looks up what is open, or with `upgrade` what is newer, saves it, and prints what changed and what stays open."""
    settings = Settings.load()
    file = LockFile.open(lock_file or settings.lock)
    entries = [file.lock.find(name) for name in names] or list(file.lock.models)
    asked = entries if upgrade else [entry for entry in entries if left_open(entry)]
    typer.echo(f"models: looking up {len(asked)} of {len(entries)} entries", err=True)
    found = refresh(entries, Resolver(supply.access(settings)).resolve, upgrade=upgrade)
    place = Volume(volume or settings.volume_folder, staging=settings.staging)
    results = [recorded(result, place.receipt(result.entry.path)) for result in found]
    if not dry_run:
        file.replacing(result.entry for result in results).save()
    status = _status(results, dry_run=dry_run)
    if as_json:
        rows = [_document(result) for result in results if result.changes or result.problems or result.open]
        typer.echo(json.dumps({"ok": not status, "dry_run": dry_run, "lock": str(file.file), "models": rows}))
    else:
        _show(results, dry_run=dry_run)
    if status:
        raise typer.Exit(status)


def remove_models(names: Sequence[str], lock_file: Path | None, volume: Path | None, *, as_json: bool) -> None:
    """Takes entries out of the lock; says which of their files are still on the volume."""
    settings = Settings.load()
    file = LockFile.open(lock_file or settings.lock)
    entries = list(dict.fromkeys(file.lock.find(name) for name in names))
    remove(file, entries).save()
    place = supply.volume(settings, volume)
    left = [entry.path for entry in entries if _is_there(entry, place)]
    if as_json:
        removed = [entry.path for entry in entries]
        typer.echo(json.dumps({"ok": True, "lock": str(file.file), "removed": removed, "on_volume": left}))
        return
    for entry in entries:
        rest = "; its files are on the volume until `comfyport models gc`" if entry.path in left else ""
        typer.echo(f"removed {entry.path} from {file.file}{rest}")


def _status(results: Sequence[Refreshed], *, dry_run: bool) -> int:
    if any(result.failed for result in results):
        return 1
    work = any(result.open or result.problems or (dry_run and result.changes) for result in results)
    return WORK_LEFT if work else 0


def _show(results: Sequence[Refreshed], *, dry_run: bool) -> None:
    changed = [(result.entry.path, change) for result in results for change in result.changes]
    if changed:
        rows = [(path, change.field, _shown(change.before), _shown(change.after)) for path, change in changed]
        show(("model", "field", "is now" if dry_run else "was", "would be" if dry_run else "is now"), rows)
    for result in results:
        for reason in (*result.problems, *_gaps(result)):
            typer.echo(f"{result.entry.path}: {reason}", err=True)
    moved = sum(bool(result.changes) for result in results)
    verb = "would change" if dry_run else "changed"
    typer.echo(
        f"{moved} of {len(results)} entries {verb}, {sum(bool(result.open) for result in results)} leave something open"
    )


def _gaps(result: Refreshed) -> list[str]:
    return [f"it leaves open: {', '.join(result.open)}"] if result.open else []


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:DIGEST_SHOWN]}…" if len(text) in (40, 64) and text.isalnum() else text


def _document(result: Refreshed) -> dict[str, Any]:
    return {
        "path": result.entry.path,
        "changes": [{"field": each.field, "before": each.before, "after": each.after} for each in result.changes],
        "open": result.open,
        "problems": list(result.problems),
        "failed": result.failed,
    }


def _is_there(entry: Entry, place: Volume) -> bool:
    return place.receipt(entry.path) is not None or place.state(entry.path) is not None
