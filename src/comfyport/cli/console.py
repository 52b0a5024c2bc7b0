"""How work on many files is shown on stderr: bars on a terminal, else a line now and then."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from comfyport.errors import ComfyportError
from comfyport.models.events import Event, FileFailed, FileReady
from comfyport.models.progress import Progress

if TYPE_CHECKING:
    from comfyport.cli.bars import Bars

LINE_SECONDS = 5.0
TICK_SECONDS = 0.25


@dataclass(frozen=True)
class Wording:
    """What is said of the work: `done` of a file that is finished, `rest` of the bytes that are left."""

    done: str
    rest: str
    tells_files: bool = True


BRING = Wording(done="ready", rest="to come")
CHECK = Wording(done="checked", rest="to read", tells_files=False)


class Reporter:
    """Shows `state` from `with` to its end; `also` is called as often as it is shown, and once more at the end."""

    def __init__(self, state: Progress, wording: Wording, *, also: Callable[[], None] = lambda: None) -> None:
        self.state = state
        self.wording = wording
        self._also = also
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="reporter", daemon=True)
        self._next_line = time.monotonic() + LINE_SECONDS
        self._bars = _bars()

    def observe(self, event: Event) -> None:
        """Takes one event in; a file that is finished gets its line."""
        self.state.observe(event)
        if not self.wording.tells_files:
            return
        match event:
            case FileReady(path=path, size=size):
                began = self.state.files[path].began
                if began is not None:
                    self._say(f"{path} {self.wording.done}, {_pace(size, time.monotonic() - began)}")
            case FileFailed(path=path, message=message):
                self._say(f"{path} failed: {message}")

    def __enter__(self) -> Self:
        self._also()
        if self._bars:
            self._bars.start(self.state)
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
            self._bars.stop(self.state)
        self._also()

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self._also()
            if self._bars:
                self._bars.show(self.state)
            elif time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + LINE_SECONDS
                self._say(summary(self.state, self.wording))

    def _say(self, text: str) -> None:
        if self._bars:
            self._bars.say(f"models: {text}", self.state)
        else:
            typer.echo(f"models: {text}", err=True)


def summary(state: Progress, wording: Wording) -> str:
    """How far it is, in one line."""
    done = sum(file.state == "ready" for file in state.files.values())
    left = state.seconds_left
    time_left = "" if left is None else f", {duration(left)} left"
    return (
        f"{done} of {len(state.files)} {wording.done}, {amount(state.bytes_left)} {wording.rest} "
        f"at {state.rate / 1e6:.1f} MB/s{time_left}"
    )


def amount(size: int) -> str:
    """Bytes as a person reads them, by 1000 as disks and networks are sold."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3 min 20 s, 1 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _pace(size: int, seconds: float) -> str:
    return f"{amount(size)} in {seconds:.1f} s"


def _bars() -> "Bars | None":
    if not sys.stderr.isatty():
        return None
    # Here and not above: they take a while to load, and without a terminal nothing of them is needed.
    from rich.console import Console

    from comfyport.cli.bars import Bars

    console = Console(stderr=True)
    return None if console.is_dumb_terminal else Bars(console)
