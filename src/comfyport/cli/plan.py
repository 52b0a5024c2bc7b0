"""`comfyport models plan`: what `sync` would do, as tables on a terminal, as plain lines or as JSON elsewhere."""

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from comfyport.cli.console import amount
from comfyport.cli.options import JsonOption, LockedOption, LockOption, VolumeOption, ask
from comfyport.cli.tables import size, table, total
from comfyport.models import amendments, plan
from comfyport.models.lock import require_locked

if TYPE_CHECKING:
    from rich.table import Table

WORK_LEFT = 3
STYLES = {"have": "green", "missing": "yellow", "changed": "red", "unverified": "yellow", "orphaned": "dim"}


def plan_command(
    lock_file: LockOption = None, volume: VolumeOption = None, locked: LockedOption = False, as_json: JsonOption = False
) -> None:
    """Show what `sync` would do, and do nothing."""
    settings, entries, place = ask(lock_file, volume)
    if locked:
        require_locked(str(lock_file or settings.lock), entries)
    whole = amendments.load(lock_file or settings.lock, place).models
    made = plan.make(entries, state=place.state, receipt=place.receipt, managed=place.managed(), lock=whole)
    free = place.free_bytes()
    if as_json:
        typer.echo(json.dumps(_document(made, free)))
    elif sys.stdout.isatty():
        _show_tables(made, free)
    else:
        _show_lines(made, free)
    if made.work:
        raise typer.Exit(WORK_LEFT)


def _show_lines(made: plan.Plan, free: int | None) -> None:
    for action in made.actions:
        typer.echo(f"{action.kind:<10} {action.entry.path}{action.reason and f' ({action.reason})'}")
    for path in made.orphaned:
        typer.echo(f"{'orphaned':<10} {path} (`comfyport models gc` removes it)")
    for share in made.by_group if len(made.by_group) > 1 else ():
        typer.echo(
            f"group {share.group or 'none'}: {share.have} of {share.files} there, "
            f"{share.bytes_to_fetch / 1e6:.1f} of {share.bytes / 1e6:.1f} MB to fetch{_more(share.unknown_to_fetch)}"
        )
    more = _more(made.unknown_to_fetch)
    told = "what is free is unknown" if free is None else f"{free / 1e6:.1f} MB free"
    typer.echo(f"{made.bytes_to_fetch / 1e6:.1f} MB to fetch{more}, {told}")
    if free is not None and made.bytes_to_fetch > free:
        typer.echo(_too_small(made, free))


def _more(unknown: int) -> str:
    return f" and {unknown} of unknown size" if unknown else ""


def _show_tables(made: plan.Plan, free: int | None) -> None:
    # Here and not above: a script that reads lines or JSON does not wait for it.
    from rich.console import Console

    console = Console()
    if made.actions or made.orphaned:
        console.print(_files(made))
    if len(made.by_group) > 1:
        console.print(_groups(made))
    told = "what is free is unknown" if free is None else f"{amount(free)} free"
    console.print(f"{total(made.bytes_to_fetch, made.unknown_to_fetch)} to fetch, {told}")
    if free is not None and made.bytes_to_fetch > free:
        console.print(_too_small(made, free), style="bold red")


def _files(made: plan.Plan) -> "Table":
    from rich.text import Text

    rows = table("action", "model", ("size", "right"), "why")
    for action in made.actions:
        kind = Text(action.kind, STYLES[action.kind])
        rows.add_row(kind, Text(action.entry.path), size(action.entry.size), Text(action.reason))
    for path in made.orphaned:
        rows.add_row(Text("orphaned", STYLES["orphaned"]), Text(path), "", "`comfyport models gc` removes it")
    return rows


def _groups(made: plan.Plan) -> "Table":
    rows = table("group", ("files", "right"), ("there", "right"), ("size", "right"), ("to fetch", "right"))
    for share in made.by_group:
        sums = total(share.bytes, share.unknown), total(share.bytes_to_fetch, share.unknown_to_fetch)
        rows.add_row(share.group or "none", str(share.files), str(share.have), *sums)
    return rows


def _too_small(made: plan.Plan, free: int) -> str:
    return (
        f"It does not fit: {amount(made.bytes_to_fetch - free)} more are needed. "
        "Enlarge the volume, delete what is not needed, or choose fewer models with MODEL_GROUPS."
    )


def _document(made: plan.Plan, free: int | None) -> dict[str, Any]:
    return {
        "ok": not made.work,
        "bytes_to_fetch": made.bytes_to_fetch,
        "unknown_to_fetch": made.unknown_to_fetch,
        "bytes_free": free,
        "models": [
            {"path": action.entry.path, "action": action.kind, "reason": action.reason, "size": action.entry.size}
            for action in made.actions
        ],
        "orphaned": list(made.orphaned),
        "groups": {
            share.group: {
                "files": share.files,
                "have": share.have,
                "bytes": share.bytes,
                "bytes_to_fetch": share.bytes_to_fetch,
                "unknown": share.unknown,
                "unknown_to_fetch": share.unknown_to_fetch,
            }
            for share in made.by_group
        },
    }
