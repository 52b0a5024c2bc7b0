"""`comfyport models list` and `usage`: what the lock names, and what lies on the volume."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from comfyport import supply
from comfyport.cli.console import amount
from comfyport.cli.tables import show, size, total
from comfyport.errors import UnknownGroup
from comfyport.models import amendments, lock, plan, usage
from comfyport.models.lock import Entry, Lock
from comfyport.models.plan import Action
from comfyport.models.sources import called
from comfyport.models.volume import Volume
from comfyport.settings import Settings

MODEL_COLUMNS = ("model", ("size", "right"), "state", "groups", "source")
GROUP_COLUMNS = ("group", ("files", "right"), ("there", "right"), ("size", "right"))
SHARE_COLUMNS = (("files", "right"), ("size", "right"))
FILE_COLUMNS = ("file", ("size", "right"), "state", "groups")


def list_models(lock_file: Path | None, volume: Path | None, groups: Sequence[str], *, as_json: bool) -> None:
    """Prints the entries of the lock, those of `groups` alone if there are any, and how each stands on the volume."""
    file, whole, place = _asked(lock_file, volume)
    for group in groups:
        if group not in whole.groups:
            raise UnknownGroup(group, whole.groups)
    entries = whole.choose(tuple(groups)) if groups else whole.models
    made = plan.make(entries, state=place.state, receipt=place.receipt)
    shares = [share for share in made.by_group if not groups or share.group in groups]
    if as_json:
        rows = [_listed(action) for action in made.actions]
        typer.echo(json.dumps({"ok": True, "lock": str(file), "models": rows, "groups": _sums(shares)}))
        return
    show(MODEL_COLUMNS, [_row(action) for action in made.actions])
    show(GROUP_COLUMNS, [_group_row(share) for share in shares])
    gaps = sum(bool(lock.left_open(entry)) for entry in entries)
    hint = "; `comfyport models lock` fills it in" if gaps else ""
    typer.echo(f"{gaps} of {len(entries)} models leave something open{hint}")


def show_usage(lock_file: Path | None, volume: Path | None, *, as_json: bool) -> None:
    """Prints what lies on the volume, by folder, by group and by file, and what is free."""
    _, whole, place = _asked(lock_file, volume)
    found = usage.survey(whole.models, place)
    if as_json:
        typer.echo(json.dumps(_document(found, place)))
        return
    show(FILE_COLUMNS, [_file_row(file) for file in found.files])
    for name, shares in (("folder", found.folders), ("group", found.groups)):
        rows = [(share.name or ".", str(share.files), amount(share.bytes)) for share in shares]
        show((name, *SHARE_COLUMNS), rows)
    typer.echo(f"{amount(found.bytes)} in models, {amount(found.parts)} in downloads under way or broken off")
    if found.orphaned:
        typer.echo(f"{amount(found.orphaned)} of it orphaned: `comfyport models gc` removes it")
    if found.free is not None and found.total is not None:
        typer.echo(f"{amount(found.free)} free of {amount(found.total)}")


def _asked(lock_file: Path | None, volume: Path | None) -> tuple[Path, Lock, Volume]:
    settings = Settings.load()
    file, place = lock_file or settings.lock, supply.volume(settings, volume)
    return file, lock.load(file) if lock_file else amendments.load(file, place), place


def _row(action: Action) -> tuple[str, ...]:
    entry = action.entry
    more = f" and {len(entry.sources) - 1} more" if len(entry.sources) > 1 else ""
    return entry.path, size(entry.size), action.kind, " ".join(entry.groups), called(entry.sources[0]) + more


def _group_row(share: plan.Share) -> tuple[str, ...]:
    return share.group or "none", str(share.files), str(share.have), total(share.bytes, share.unknown)


def _listed(action: Action) -> dict[str, Any]:
    entry: Entry = action.entry
    written = entry.model_dump(
        mode="json", include={"directory", "name", "size", "sha256", "groups", "license", "page"}
    )
    sources = [source.model_dump(mode="json", exclude_none=True) for source in entry.sources]
    return {
        "path": entry.path,
        **written,
        "sources": sources,
        "archive": entry.archive and entry.archive.model_dump(mode="json"),
        "state": action.kind,
        "reason": action.reason,
        "open": lock.left_open(entry),
    }


def _sums(shares: Sequence[plan.Share]) -> dict[str, Any]:
    return {
        share.group: {"files": share.files, "have": share.have, "bytes": share.bytes, "unknown": share.unknown}
        for share in shares
    }


def _file_row(file: usage.StoredFile) -> tuple[str, ...]:
    where = f"{file.path} -> {file.leads_to}" if file.leads_to else file.path
    return where, "link" if file.leads_to else amount(file.bytes), file.standing, " ".join(file.groups)


def _document(found: usage.Usage, place: Volume) -> dict[str, Any]:
    return {
        "ok": True,
        "volume": os.fspath(place.root),
        "bytes": found.bytes,
        "bytes_orphaned": found.orphaned,
        "bytes_unfinished": found.parts,
        "bytes_free": found.free,
        "bytes_total": found.total,
        "folders": {share.name: {"files": share.files, "bytes": share.bytes} for share in found.folders},
        "groups": {share.name: {"files": share.files, "bytes": share.bytes} for share in found.groups},
        "files": [
            {
                "path": file.path,
                "bytes": file.bytes,
                "state": file.standing,
                "groups": list(file.groups),
                "link": file.leads_to or None,
            }
            for file in found.files
        ],
    }
