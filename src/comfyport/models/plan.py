"""Compares the lock with the volume: lock, receipts and disk in, actions out. Pure: reads nothing, writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from comfyport.models.lock import Entry
from comfyport.models.volume import FileState, Receipt

Kind = Literal["have", "missing", "changed", "unverified"]


@dataclass(frozen=True)
class Action:
    """What an entry needs.

    have: nothing. missing: a download. changed: the file there is not the one that the lock names; a download.
    unverified: a file without a valid receipt that may be right; it has to be read once.
    """

    entry: Entry
    kind: Kind
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """An action for each entry, in the lock's order."""

    actions: tuple[Action, ...]

    @property
    def work(self) -> tuple[Action, ...]:
        """The actions that are more than `have`."""
        return tuple(action for action in self.actions if action.kind != "have")

    @property
    def bytes_to_fetch(self) -> int:
        """Bytes of all downloads whose size the lock knows."""
        return sum(action.entry.size or 0 for action in self.actions if action.kind in ("missing", "changed"))


def make(
    entries: Sequence[Entry],
    *,
    state: Callable[[str], FileState | None],
    receipt: Callable[[str], Receipt | None],
) -> Plan:
    """Plans `entries` against what `state` and `receipt` answer for their paths."""
    return Plan(tuple(_action(entry, state(entry.path), receipt(entry.path)) for entry in entries))


def _action(entry: Entry, state: FileState | None, receipt: Receipt | None) -> Action:
    if state is None:
        return Action(entry, "missing")
    if entry.size is not None and state.size != entry.size:
        return Action(entry, "changed", f"it has {state.size} bytes, the lock says {entry.size}")
    if receipt is None:
        return Action(entry, "unverified", "it has no receipt")
    if (receipt.size, receipt.mtime_ns) != (state.size, state.mtime_ns):
        return Action(entry, "unverified", "it was written to since its receipt")
    if entry.sha256 and receipt.sha256 != entry.sha256:
        return Action(entry, "changed", "its receipt has another sha256 than the lock")
    return Action(entry, "have")
