"""What came of a piece of housekeeping, for people; it crosses from the container to whoever asked as plain values."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Report:
    """`lines` tell it; `lock` is the new text of a lock that has to change.

    `changed` says that the Volume, or a lock, is another one now.
    """

    ok: bool = True
    lines: list[str] = field(default_factory=list)
    changed: bool = False
    lock: str | None = None

    def say(self, line: str) -> None:
        """One line more."""
        self.lines.append(line)

    def fail(self, line: str) -> None:
        """One line more, and it did not go well."""
        self.ok = False
        self.lines.append(line)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def amount(size: int) -> str:
    """Bytes as a person reads them, by 1000 as disks and networks are sold."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def count(number: int, noun: str) -> str:
    """A number of things: 1 model, 2 models."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
