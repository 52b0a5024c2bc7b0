"""Compares the lock with the volume: lock, receipts and disk in, actions out. Pure: reads nothing, writes nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from comfyport.models.lock import Archive, Entry
from comfyport.models.paths import folded
from comfyport.models.volume import FileState, Receipt

Kind = Literal["have", "missing", "changed", "unverified"]
StateOf = Callable[[str], FileState | None]
ReceiptOf = Callable[[str], Receipt | None]


@dataclass(frozen=True)
class Action:
    """What an entry needs.

    have: nothing. missing: a download. changed: what is there is not what the lock names; a download.
    unverified: a file without a valid receipt that may be right; it has to be read once.
    """

    entry: Entry
    kind: Kind
    reason: str = ""


@dataclass(frozen=True)
class Share:
    """What one group asks for: files, their bytes, and how many are there.

    `unknown` are the files whose size the lock does not say: their bytes are in no sum.
    """

    group: str
    files: int
    bytes: int
    have: int
    missing: int
    bytes_to_fetch: int
    unknown: int
    unknown_to_fetch: int


@dataclass(frozen=True)
class Plan:
    """An action for each entry, in the lock's order; `orphaned` are managed paths that the lock no longer names."""

    actions: tuple[Action, ...]
    orphaned: tuple[str, ...] = ()

    @property
    def work(self) -> tuple[Action, ...]:
        """The actions that are more than `have`."""
        return tuple(action for action in self.actions if action.kind != "have")

    @property
    def bytes_to_fetch(self) -> int:
        """Bytes of all downloads whose size the lock knows; what has the same sha256 is fetched once."""
        there = {_content(action.entry) for action in self.actions if action.kind == "have"}
        total = 0
        for action in self.actions:
            content = _content(action.entry)
            if action.kind in ("missing", "changed") and (content is None or content not in there):
                total += action.entry.size or 0
                there.add(content)
        return total

    @property
    def unknown_to_fetch(self) -> int:
        """How many downloads there are whose size the lock does not know."""
        return sum(action.entry.size is None for action in self.actions if action.kind in ("missing", "changed"))

    @property
    def by_group(self) -> tuple[Share, ...]:
        """What each group asks for, by name; an entry counts in each of its groups, or in the group ''."""
        groups = sorted({group for action in self.actions for group in action.entry.groups or ("",)})
        return tuple(self._share(group) for group in groups)

    def _share(self, group: str) -> Share:
        part = Plan(tuple(action for action in self.actions if group in (action.entry.groups or ("",))))
        return Share(
            group,
            files=len(part.actions),
            bytes=sum(action.entry.size or 0 for action in part.actions),
            have=len(part.actions) - len(part.work),
            missing=len(part.work),
            bytes_to_fetch=part.bytes_to_fetch,
            unknown=sum(action.entry.size is None for action in part.actions),
            unknown_to_fetch=part.unknown_to_fetch,
        )


def make(
    entries: Sequence[Entry],
    *,
    state: StateOf,
    receipt: ReceiptOf,
    members_intact: Callable[[Receipt], bool] | None = None,
    managed: Iterable[str] = (),
    lock: Sequence[Entry] = (),
) -> Plan:
    """Plans `entries` against what `state` and `receipt` answer for their paths.

    `members_intact` says whether all that was unpacked from an archive is there; without it, `state` is asked.
    Orphans are looked for among the `managed` paths; `lock` are all entries, those not chosen included.
    """
    intact = members_intact or (lambda noted: _members_intact(noted, state))
    actions = tuple(
        _unpacked(entry, entry.archive, receipt(entry.path), intact)
        if entry.archive
        else _action(entry, state(entry.path), receipt(entry.path))
        for entry in entries
    )
    return Plan(actions, orphans(managed, [*lock, *entries], receipt))


def orphans(managed: Iterable[str], entries: Sequence[Entry], receipt: ReceiptOf) -> tuple[str, ...]:
    """Those of the `managed` paths that belong to none of `entries`, sorted; an archive's files belong to its entry."""
    kept = {folded(path) for path in kept_paths(entries, receipt)}
    return tuple(sorted(path for path in managed if folded(path) not in kept))


def kept_paths(entries: Sequence[Entry], receipt: ReceiptOf) -> list[str]:
    """The paths that `entries` name, in order, and of what was unpacked from their archives."""
    kept: list[str] = []
    for entry in entries:
        kept.append(entry.path)
        noted = receipt(entry.path) if entry.archive else None
        kept += [member.path for member in noted.members] if noted else []
    return kept


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


def _unpacked(entry: Entry, archive: Archive, receipt: Receipt | None, intact: Callable[[Receipt], bool]) -> Action:
    if receipt is None or not receipt.members:
        return Action(entry, "missing")
    if entry.sha256 and receipt.sha256 != entry.sha256:
        return Action(entry, "changed", "its receipt has another sha256 than the lock")
    if not all(member.path.startswith(f"{archive.into}/") for member in receipt.members):
        return Action(entry, "changed", "it was unpacked into another folder than the lock says")
    if not intact(receipt):
        return Action(entry, "changed", "a file that was unpacked from it is gone or was written to")
    return Action(entry, "have")


def _members_intact(receipt: Receipt, state: StateOf) -> bool:
    return all(state(member.path) == FileState(member.size, member.mtime_ns) for member in receipt.members)


def _content(entry: Entry) -> str | None:
    """What entries with the same bytes on the volume have in common; an archive itself is not kept there."""
    return entry.sha256 if entry.archive is None else None
