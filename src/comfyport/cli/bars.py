"""Bars on a terminal: one for each file under way, gone when it is finished, and one for everything below them."""

import threading
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Display
from rich.table import Column

from comfyport.cli.console import amount, duration
from comfyport.models.progress import FileProgress, Progress

BAR_WIDTH = 24
NARROW = 80
# What stands beside path and bar at most: 999.99 GB / 999.99 GB  9999.9 MB/s  59 min 59 s left, and the gaps.
NUMBERS_WIDTH = 52
SHORTEST_PATH = 12


class Bars:
    """The bars of one piece of work, from `start` to `stop`."""

    def __init__(self, console: Console) -> None:
        bar = BAR_WIDTH if console.width >= NARROW else BAR_WIDTH // 3
        self._path_width = max(SHORTEST_PATH, console.width - bar - NUMBERS_WIDTH)
        self._display = _Display(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(bar),
            TextColumn("{task.fields[amount]}", justify="right", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[pace]}", table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
        )
        self._lock = threading.Lock()
        self._files: dict[str, TaskID] = {}
        self._whole = self._display.add_task("", total=None, amount="", pace="", is_whole=True)

    def start(self, state: Progress) -> None:
        """Takes the lower end of the terminal."""
        self.show(state)
        self._display.start()

    def stop(self, state: Progress) -> None:
        """Removes the bars and gives the terminal back."""
        self.show(state)
        self._display.stop()

    def say(self, text: str, state: Progress) -> None:
        """Writes a line above the bars, as they are now."""
        self.show(state)
        self._display.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, state: Progress) -> None:
        """Shows how far it is now; may be called from several threads."""
        with self._lock:
            self._show_files(state)
            self._show_whole(state)
            self._display.refresh()

    def _show_files(self, state: Progress) -> None:
        active = {path: file for path, file in state.files.items() if file.state == "downloading"}
        for path in self._files.keys() - active.keys():
            self._display.remove_task(self._files.pop(path))
        for path, file in active.items():
            if path not in self._files:
                self._files[path] = self._display.add_task(
                    self._short(path), amount=_share(file), pace="", is_whole=False
                )
            self._display.update(self._files[path], completed=file.bytes, total=file.size, amount=_share(file))

    def _short(self, path: str) -> str:
        """The end of a path, which tells most of it."""
        return path if len(path) <= self._path_width else f"…{path[1 - self._path_width :]}"

    def _show_whole(self, state: Progress) -> None:
        left = state.seconds_left
        finished = sum(file.state in ("ready", "failed") for file in state.files.values())
        self._display.update(
            self._whole,
            description=f"{finished} of {len(state.files)} files",
            completed=state.bytes_done,
            total=state.bytes_total or None,
            amount=f"{amount(state.bytes_done)} / {amount(state.bytes_total)}",
            pace=f"{state.rate / 1e6:.1f} MB/s" + ("" if left is None else f"  {duration(left)} left"),
        )


class _Display(Display):
    """Rich shows tasks in the order in which they were added; the one for everything stays at the bottom."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(sorted(self.tasks, key=lambda task: bool(task.fields["is_whole"])))


def _share(file: FileProgress) -> str:
    return amount(file.bytes) if file.size is None else f"{amount(file.bytes)} / {amount(file.size)}"
