"""What the doctor says of one thing, and of all of them."""

from dataclasses import dataclass
from typing import Any, Literal

# ok: right. note: worth knowing, nothing to do. work: left to do, and will be done. problem: jobs will fail of it.
State = Literal["ok", "note", "work", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do if it is not right."""

    area: str
    subject: str
    state: State
    found: str
    fix: str = ""

    @property
    def sign(self) -> str:
        """Its state as a person reads it."""
        return {"ok": "ok", "note": "note", "work": "to do", "problem": "PROBLEM"}[self.state]

    @property
    def advice(self) -> str:
        """What to do, empty where nothing is."""
        return "" if self.state == "ok" else self.fix


@dataclass(frozen=True)
class Report:
    """All findings, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What jobs will fail of."""
        return tuple(finding for finding in self.findings if finding.state == "problem")

    @property
    def sum(self) -> str:
        """All of it in a sentence."""
        number = len(self.problems)
        return f"{number} problem{'s' if number > 1 else ''} to mend." if number else "No problem was found."

    @property
    def exit_status(self) -> int:
        """1 if there is a problem, 3 if something is left to fetch, else 0."""
        states = {finding.state for finding in self.findings}
        return 1 if "problem" in states else 3 if "work" in states else 0

    def as_json(self) -> dict[str, Any]:
        """The report as `--json` prints it."""
        listed = [
            {
                "area": finding.area,
                "subject": finding.subject,
                "state": finding.state,
                "found": finding.found,
                "fix": finding.fix,
            }
            for finding in self.findings
        ]
        return {"ok": not self.problems, "findings": listed}
