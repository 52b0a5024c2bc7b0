"""How a download is shown: bars on a terminal, else a line now and then; the status board hears the same."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from comfyport.errors import ComfyportError
from comfyport.models import progress
from comfyport.models.events import Event, FileFailed, FileReady
from comfyport.status import Board

LINE_SECONDS = 5.0
BOARD_SECONDS = 0.25


class Reporter:
    """Shows a download on stderr and on the board, from `with` to its end.

    What the board says is wanted is handed to `prefer`.
    """

    def __init__(self, state: progress.Progress, board: Board, *, prefer: Callable[[set[str]], None]) -> None:
        self.state = state
        self.board = board
        self._prefer = prefer
        self._wanted: set[str] = set()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="reporter", daemon=True)
        self._next_line = time.monotonic() + LINE_SECONDS
        self._bars = _Bars() if sys.stderr.isatty() else None
        self._fetched: set[str] = set()

    def observe(self, event: Event) -> None:
        """Takes one event of the download in."""
        self.state.observe(event)
        match event:
            case FileReady(path=path, size=size) if path in self._fetched and not self._bars:
                typer.echo(f"models: {path} ready, {_amount(size)}", err=True)
            case FileFailed(path=path, message=message):
                typer.echo(f"models: {path} failed: {message}", err=True)
            case _:
                self._fetched.add(event.path)

    def __enter__(self) -> Self:
        self.board.write("models", self.state.as_section())
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        failure = error if isinstance(error, ComfyportError) else ComfyportError("it was stopped") if error else None
        self.state.finish(failure)
        if self._bars:
            self._bars.show(self.state)
            self._bars.close()
        self.board.write("models", self.state.as_section())

    def _tick(self) -> None:
        while not self._ended.wait(BOARD_SECONDS):
            self._hear_wishes()
            self.board.write("models", self.state.as_section())
            if self._bars:
                self._bars.show(self.state)
            elif time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + LINE_SECONDS
                typer.echo(_line(self.state), err=True)

    def _hear_wishes(self) -> None:
        wanted = set((self.board.read("wanted") or {}).get("names", ()))
        if wanted != self._wanted:
            self._wanted = wanted
            self._prefer(wanted)


class _Bars:
    """A bar for each file under way."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._display = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._display.start()

    def show(self, state: progress.Progress) -> None:
        for path, file in state.files.items():
            if file.state == "downloading" and path not in self._tasks:
                self._tasks[path] = self._display.add_task(path, total=file.size)
            if path in self._tasks:
                self._display.update(self._tasks[path], completed=file.bytes, total=file.size)

    def close(self) -> None:
        self._display.stop()


def _line(state: progress.Progress) -> str:
    ready = sum(file.state == "ready" for file in state.files.values())
    left = state.seconds_left
    time_left = "" if left is None else f", {left:.0f} s left"
    return (
        f"models: {ready} of {len(state.files)} ready, {_amount(state.bytes_left)} to come "
        f"at {state.rate / 1e6:.1f} MB/s{time_left}"
    )


def _amount(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
