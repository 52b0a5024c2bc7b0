"""Tables on stdout: drawn on a terminal, as plain aligned lines elsewhere, so that scripts and logs can read them."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from comfyport.cli.console import amount

if TYPE_CHECKING:
    from rich.table import Table

Column = str | tuple[str, str]
UNKNOWN = "unknown"


def show(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows below the names of their columns, and an empty line; a column given as (name, "right") is aligned so.

    Without rows nothing is printed.
    """
    if not rows:
        return
    if not sys.stdout.isatty():
        _show_lines(columns, rows)
        return
    # Here and not above: a script that reads lines or JSON does not wait for it.
    from rich.console import Console
    from rich.text import Text

    drawn = table(*columns)
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def table(*columns: Column) -> "Table":
    """An empty table with these columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, side = _named(column)
        made.add_column(name, justify="right" if side == "right" else "left", no_wrap=side == "right", overflow="fold")
    return made


def size(count: int | None) -> str:
    """Bytes as a person reads them, or that nobody knows them."""
    return UNKNOWN if count is None else amount(count)


def total(count: int, unknown: int) -> str:
    """A sum of bytes, which is a lower bound when the sizes of `unknown` files are not in it."""
    if not unknown:
        return amount(count)
    return f"{amount(count)} + {unknown} {UNKNOWN}" if count else UNKNOWN


def _show_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    lines = [[name for name, _ in map(_named, columns)], *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    sides = [side for _, side in map(_named, columns)]
    for line in lines:
        cells = (
            cell.rjust(width) if side == "right" else cell.ljust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        )
        typer.echo("  ".join(cells).rstrip())
    typer.echo()


def _named(column: Column) -> tuple[str, str]:
    return (column, "left") if isinstance(column, str) else column
