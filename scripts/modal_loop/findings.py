"""What a step has found, and how a person is told."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One step's outcome: what was looked at and what is so; of a failure, in `advice`, what to do."""

    state: Literal["ok", "note", "skip", "FAIL"]
    name: str
    said: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.state:<4}  {self.name:<11}  {self.said}"
        return f"{line}\n      {'':<11}  do: {self.advice}" if self.advice else line


def ok(name: str, said: str) -> Finding:
    """It is as it shall be."""
    return Finding("ok", name, said)


def note(name: str, said: str, advice: str = "") -> Finding:
    """It works so, and there is something to know."""
    return Finding("note", name, said, advice)


def skip(name: str, said: str) -> Finding:
    """It was not looked at."""
    return Finding("skip", name, said)


def fail(name: str, said: str, advice: str) -> Finding:
    """It is not as it shall be."""
    return Finding("FAIL", name, said, advice)


def told(findings: Iterable[Finding]) -> list[Finding]:
    """Prints every finding as it comes and returns those that failed."""
    failures = []
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
        if finding.state == "FAIL":
            failures.append(finding)
    return failures
