"""`comfyport models plan`: what `sync` would do, as tables on a terminal, as plain lines or as JSON elsewhere."""

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import typer

from comfyport.cli.console import amount
from comfyport.cli.options import JsonOption, LockedOption, LockOption, VolumeOption, ask
from comfyport.models import amendments, plan
from comfyport.models.lock import require_locked
from comfyport.models.volume import Volume

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
    free = _free_bytes(place)
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
            f"{share.bytes_to_fetch / 1e6:.1f} of {share.bytes / 1e6:.1f} MB to fetch"
        )
    told = "what is free is unknown" if free is None else f"{free / 1e6:.1f} MB free"
    typer.echo(f"{made.bytes_to_fetch / 1e6:.1f} MB to fetch, {told}")
    if free is not None and made.bytes_to_fetch > free:
        typer.echo(_too_small(made, free))


def _show_tables(made: plan.Plan, free: int | None) -> None:
    # Here and not above: a script that reads lines or JSON does not wait for it.
    from rich.console import Console

    console = Console()
    if made.actions or made.orphaned:
        console.print(_files(made))
    if len(made.by_group) > 1:
        console.print(_groups(made))
    told = "what is free is unknown" if free is None else f"{amount(free)} free"
    console.print(f"{amount(made.bytes_to_fetch)} to fetch, {told}")
    if free is not None and made.bytes_to_fetch > free:
        console.print(_too_small(made, free), style="bold red")


def _files(made: plan.Plan) -> "Table":
    from rich.text import Text

    table = _table("action", "model", ("size", "right"), "why")
    for action in made.actions:
        size = "?" if action.entry.size is None else amount(action.entry.size)
        table.add_row(Text(action.kind, STYLES[action.kind]), Text(action.entry.path), size, Text(action.reason))
    for path in made.orphaned:
        table.add_row(Text("orphaned", STYLES["orphaned"]), Text(path), "", "`comfyport models gc` removes it")
    return table


def _groups(made: plan.Plan) -> "Table":
    table = _table("group", ("files", "right"), ("there", "right"), ("size", "right"), ("to fetch", "right"))
    for share in made.by_group:
        numbers = (str(share.files), str(share.have), amount(share.bytes), amount(share.bytes_to_fetch))
        table.add_row(share.group or "none", *numbers)
    return table


def _table(*columns: str | tuple[str, str]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, side = (column, "left") if isinstance(column, str) else column
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=side == "right", overflow="fold")
    return table


def _too_small(made: plan.Plan, free: int) -> str:
    return (
        f"It does not fit: {amount(made.bytes_to_fetch - free)} more are needed. "
        "Enlarge the volume, delete what is not needed, or choose fewer models with MODEL_GROUPS."
    )


def _document(made: plan.Plan, free: int | None) -> dict[str, Any]:
    return {
        "ok": not made.work,
        "bytes_to_fetch": made.bytes_to_fetch,
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
            }
            for share in made.by_group
        },
    }


def _free_bytes(place: Volume) -> int | None:
    """Bytes free where models are, or will be; None if nobody can tell."""
    folder = place.models
    if not place.tells_space:
        return None
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
