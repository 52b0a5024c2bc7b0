"""`comfyport models import`: what a workflow or another tool's list asks for becomes pinned entries of the lock."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import typer

from comfyport import supply
from comfyport.cli.plan import WORK_LEFT
from comfyport.cli.tables import show, size
from comfyport.errors import UsageError
from comfyport.intake.reading import read
from comfyport.intake.settle import Clerk, Settled, Unresolved
from comfyport.intake.shipped import shipped_models
from comfyport.intake.wanted import Reading
from comfyport.models import references
from comfyport.models.adding import Addition, add
from comfyport.models.lock_file import LockFile, as_json
from comfyport.models.resolve import Resolver
from comfyport.models.sources import called
from comfyport.settings import Settings

COLUMNS = ("", "model", ("size", "right"), "sha256", "source", "remark")
LEFT_COLUMNS = ("unresolved", "nodes", "why")


@dataclass(frozen=True)
class _Outcome:
    """What came of an import: the lock with the additions, and what is left."""

    reading: Reading
    file: LockFile
    added: tuple[tuple[Addition, Settled], ...]
    left: tuple[Unresolved, ...]


def import_models(
    source: Path,
    lock_file: Path | None,
    *,
    groups: Sequence[str],
    only: Sequence[str],
    dry_run: bool,
    as_document: bool,
) -> None:
    """Reads `source`, looks up what it asks for, and saves the lock once; exit status 3 if something is left."""
    settings = Settings.load()
    file = LockFile.open_or_new(lock_file or settings.lock)
    reading = _chosen(read(source), only)
    typer.echo(f"models: {source} is {reading.kind} and asks for {_models(len(reading.wanted))}", err=True)
    access = supply.access(settings)
    clerk = Clerk(access, Resolver(access), locked=file.lock.models, known=shipped_models())
    outcome = _merged(reading, file, clerk.settle(reading.wanted), groups)
    if not dry_run:
        outcome.file.save()
    if as_document:
        typer.echo(json.dumps(_document(outcome, dry_run=dry_run)))
    else:
        _show(outcome, dry_run=dry_run)
    if outcome.left:
        raise typer.Exit(WORK_LEFT)


def _chosen(reading: Reading, only: Sequence[str]) -> Reading:
    """The reading without the models that no pattern of `only` matches, if there are patterns. Raises UsageError."""
    if not only:
        return reading
    patterns = [pattern.casefold() for pattern in only]
    wanted = tuple(
        each for each in reading.wanted if any(fnmatchcase(each.called.casefold(), pattern) for pattern in patterns)
    )
    if not wanted:
        raise UsageError(f"None of its {len(reading.wanted)} models is called {' or '.join(only)}.")
    return Reading(reading.kind, wanted)


def _merged(reading: Reading, file: LockFile, answers: list[Settled | Unresolved], groups: Sequence[str]) -> _Outcome:
    """The lock with what was found. Raises ModelListed if it has another file in the place of one."""
    added = []
    for answer in answers:
        if isinstance(answer, Settled):
            addition = add(file, answer.entry.model_copy(update={"groups": tuple(dict.fromkeys(groups))}))
            file = addition.file
            added.append((addition, answer))
    left = tuple(answer for answer in answers if isinstance(answer, Unresolved))
    return _Outcome(reading, file, tuple(added), left)


def _show(outcome: _Outcome, *, dry_run: bool) -> None:
    for remark in outcome.reading.remarks:
        typer.echo(f"models: {remark}", err=True)
    if outcome.added:
        show(COLUMNS, [_row(addition, settled) for addition, settled in outcome.added])
    if outcome.left:
        show(LEFT_COLUMNS, [(left.wanted.shown, " ".join(left.wanted.nodes), left.reason) for left in outcome.left])
        for left in outcome.left:
            typer.echo(f"{left.wanted.shown}: {left.advice}")
    if not outcome.reading.wanted:
        typer.echo("It names no models.")
        return
    where = f"nothing was written to {outcome.file.file}" if dry_run else f"the lock is {outcome.file.file}"
    typer.echo(f"{len(outcome.added)} of {_models(len(outcome.reading.wanted))} resolved; {where}")


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _row(addition: Addition, settled: Settled) -> tuple[str, ...]:
    entry = addition.entry
    digest = f"{entry.sha256[:12]}…" if entry.sha256 else "unknown"
    return addition.how, entry.path, size(entry.size), digest, called(entry.sources[0]), settled.remark


def _document(outcome: _Outcome, *, dry_run: bool) -> dict[str, Any]:
    return {
        "ok": not outcome.left,
        "lock": str(outcome.file.file),
        "dry_run": dry_run,
        "kind": outcome.reading.kind,
        "models": [
            {
                "how": addition.how,
                "nodes": list(settled.wanted.nodes),
                "remark": settled.remark,
                "model": as_json(addition.entry),
            }
            for addition, settled in outcome.added
        ],
        "unresolved": [
            {
                "name": left.wanted.name,
                "directory": left.wanted.directory,
                "nodes": list(left.wanted.nodes),
                "addresses": [references.shown(address) for address in left.wanted.addresses],
                "reason": left.reason,
                "advice": left.advice,
            }
            for left in outcome.left
        ],
        "remarks": list(outcome.reading.remarks),
    }
