"""The faults that the hub can be asked for by name, and the book that says whose turn it is."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, Protocol, get_args

FaultName = Literal[
    "truncate",
    "reset",
    "stall",
    "slow",
    "429",
    "503",
    "login_page",
    "json_error",
    "flip_bit",
    "ignore_range",
    "416",
    "change_mid_way",
    "redirect_other_host",
    "expired_signature",
    "wrong_length",
    "gzip_encoding",
    "empty",
]
Where = Literal["body", "resolve", "api"]

FAULT_NAMES: tuple[FaultName, ...] = get_args(FaultName)
ANYWHERE: frozenset[FaultName] = frozenset({"429", "503", "login_page", "json_error"})
"""Faults that replace a whole answer and therefore need no body to spoil."""
NEEDS_RANGE: frozenset[FaultName] = frozenset({"416", "ignore_range"})
CUTS: frozenset[FaultName] = frozenset({"truncate", "reset", "stall"})


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, as often as `times` says, separately for every file that `path` matches.

    `path` is a glob that is matched from the right against `owner/name/file` (the Hub), `version/file`
    (Civitai) or the path below `/files/`. `after` requests pass unharmed first; for `expired_signature` it is
    the number of uses that each signed URL is good for. A fault that could not show in an answer (a cut
    behind its end, an ignored range where none was asked) waits for the next one.
    """

    name: FaultName
    path: str = "*"
    times: int | Literal["always"] = 1
    after: int = 0
    at: int | None = None
    """truncate, reset, stall: bytes of the body sent before it happens (default: half of it).
    flip_bit: offset in the file (default: the middle of the answer).
    wrong_length: missing bytes (default: 1)."""
    rate: float = 1024
    """slow: bytes per second."""
    retry_after: int = 1
    """429 and 503: seconds in the Retry-After header."""
    where: Where = "body"
    """Which answer suffers: the one with the file's bytes, the one that says where they are, or the API's."""

    def __post_init__(self) -> None:
        if self.name not in FAULT_NAMES:
            raise ValueError(f"There is no fault {self.name!r}. Choose from: {', '.join(FAULT_NAMES)}.")
        if self.where != "body" and self.name not in ANYWHERE:
            raise ValueError(f"The fault {self.name!r} spoils a body; it cannot happen at {self.where!r}.")


MIXABLE: tuple[FaultName, ...] = tuple(
    name for name in FAULT_NAMES if name not in {"change_mid_way", "expired_signature"}
)
"""Faults that make sense for a single answer."""


@dataclass(frozen=True)
class FaultMix:
    """A random but repeatable choice of faults: the n-th answer of one file suffers the same in every run.

    `chance` is the share of answers that suffer, `per_file` the most faults that one file sees, so that a
    client which retries more often than that gets through.
    """

    seed: int
    names: Sequence[FaultName] = MIXABLE
    chance: float = 0.5
    per_file: int = 3
    rate: float = 64 * 1024
    retry_after: int = 0
    path: str = "*"

    def draw(self, label: str, number: int) -> Fault | None:
        """The fault for the `number`-th answer of the file `label`, if any."""
        dice = random.Random(f"{self.seed}/{label}/{number}")
        if dice.random() >= self.chance:
            return None
        return Fault(dice.choice(self.names), rate=self.rate, retry_after=self.retry_after)


class _Turn(Protocol):
    def __call__(self, where: Where, label: str, shows: Callable[[Fault], bool]) -> Fault | None: ...


@dataclass
class _FaultTurn:
    """Counts what one fault has done to each file."""

    fault: Fault
    passed: Counter[str] = field(default_factory=Counter)
    suffered: Counter[str] = field(default_factory=Counter)

    def __call__(self, where: Where, label: str, shows: Callable[[Fault], bool]) -> Fault | None:
        fault = self.fault
        if fault.name == "expired_signature" or fault.where != where or not matches(fault.path, label):
            return None
        if not shows(fault) or (fault.times != "always" and self.suffered[label] >= fault.times):
            return None
        if self.passed[label] < fault.after:
            self.passed[label] += 1
            return None
        self.suffered[label] += 1
        return fault


@dataclass
class _MixTurn:
    """Counts what one mix has done to each file."""

    mix: FaultMix
    asked: Counter[str] = field(default_factory=Counter)
    suffered: Counter[str] = field(default_factory=Counter)

    def __call__(self, where: Where, label: str, shows: Callable[[Fault], bool]) -> Fault | None:
        mix = self.mix
        if where != "body" or not matches(mix.path, label) or self.suffered[label] >= mix.per_file:
            return None
        self.asked[label] += 1
        fault = mix.draw(label, self.asked[label])
        if fault is None or not shows(fault):
            return None
        self.suffered[label] += 1
        return fault


class FaultBook:
    """Says for each answer which fault it suffers: the first of the list whose turn it is."""

    def __init__(self, faults: Iterable[Fault | FaultMix]) -> None:
        faults = list(faults)
        self._turns: list[_Turn] = [
            _FaultTurn(fault) if isinstance(fault, Fault) else _MixTurn(fault) for fault in faults
        ]
        self.expiries = [f for f in faults if isinstance(f, Fault) and f.name == "expired_signature"]

    def choose(self, where: Where, label: str, shows: Callable[[Fault], bool]) -> Fault | None:
        """The fault for an answer about the file `label`; `shows` says whether the answer could show it."""
        for turn in self._turns:
            fault = turn(where, label, shows)
            if fault is not None:
                return fault
        return None


def matches(pattern: str, label: str) -> bool:
    """Whether the glob `pattern` fits the right-hand end of `label`, part by part."""
    return PurePosixPath(label).match(pattern)


def shows(fault: Fault, *, asks_range: bool, start: int, length: int) -> bool:
    """Whether an answer with the bytes `[start, start + length)` could show this fault."""
    if fault.name in NEEDS_RANGE:
        return asks_range
    if fault.name in CUTS:
        return length > (fault.at or 0)
    if fault.name == "flip_bit" and fault.at is not None:
        return start <= fault.at < start + length
    if fault.name in {"flip_bit", "wrong_length", "empty"}:
        return length > 0
    return True
