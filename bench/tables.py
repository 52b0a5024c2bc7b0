"""Measured runs -> GitHub Markdown: the table of a scenario, and what was measured beside each target. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.content import GIB, MIB
from bench.measure import Usage

COLUMNS = ("tool", "wall s: median (min-max)", "MiB/s", "CPU s per GiB", "peak MB", "time / curl")
NONE = "-"


@dataclass(frozen=True)
class Row:
    """A tool's runs of one scenario; none if it is `missing`. Runs with a problem are told of and not counted."""

    tool: str
    runs: tuple[Usage, ...]
    missing: bool = False

    @property
    def good(self) -> tuple[Usage, ...]:
        """The runs that count."""
        return tuple(run for run in self.runs if not run.problem)

    @property
    def seconds(self) -> float | None:
        """Median wall time of the runs that count."""
        return median(run.seconds for run in self.good) if self.good else None

    @property
    def cpu_seconds(self) -> float | None:
        """Median CPU time of the runs that count."""
        return median(run.cpu_seconds for run in self.good) if self.good else None

    @property
    def peak_bytes(self) -> int | None:
        """The largest peak memory of the runs that count."""
        return max((run.peak_bytes for run in self.good), default=None)

    @property
    def label(self) -> str:
        """The tool's name, with what went wrong in how many runs."""
        problems = [run.problem for run in self.runs if run.problem]
        if self.missing:
            return f"{self.tool} (not installed)"
        if not problems:
            return self.tool
        return f"{self.tool} (**{', '.join(sorted(set(problems)))}** in {len(problems)} of {len(self.runs)})"


@dataclass(frozen=True)
class Scenario:
    """One table: its key, its heading, the bytes of a run, and the rows."""

    key: str
    heading: str
    total: int
    rows: tuple[Row, ...]

    def row(self, tool: str) -> Row:
        """A tool's row; an empty one if the tool was not measured."""
        return next((row for row in self.rows if row.tool == tool), Row(tool, ()))


def scenario_table(scenario: Scenario, *, hidden_below: int) -> str:
    """The table of a scenario. Peaks of at most `hidden_below` bytes are shown as that: see measure.own_peak_bytes."""
    curl = scenario.row("curl").seconds
    return f"**{scenario.heading}**\n\n" + markdown(
        COLUMNS, [_cells(row, scenario.total, curl, hidden_below) for row in scenario.rows]
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(values: Sequence[float], digits: int) -> str:
    """`median (min-max)`."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def megabytes(peak: int, hidden_below: int) -> str:
    """Peak memory in MB."""
    return f"{peak / 1e6:.0f}" if peak > hidden_below else f"at most {hidden_below / 1e6:.0f}"


def quotient(value: float | None, other: float | None) -> float | None:
    """value / other; None where one was not measured."""
    return value / other if value is not None and other else None


def _cells(row: Row, total: int, curl: float | None, hidden_below: int) -> list[str]:
    if row.seconds is None or row.cpu_seconds is None or row.peak_bytes is None:
        return [row.label, *[NONE] * (len(COLUMNS) - 1)]
    ratio = quotient(row.seconds, curl)
    return [
        row.label,
        spread([run.seconds for run in row.good], 2),
        f"{total / MIB / row.seconds:.0f}",
        f"{row.cpu_seconds / (total / GIB):.2f}",
        megabytes(row.peak_bytes, hidden_below),
        NONE if ratio is None else f"{ratio:.2f}",
    ]


@dataclass(frozen=True)
class Target:
    """A number that comfyport wants to reach: what was measured, if it was, and the limit that it is held against."""

    text: str
    value: float | None
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def download_targets(scenarios: Mapping[str, Scenario]) -> list[Target]:
    """The targets of the downloader, measured on the scenarios that are there."""

    def row(key: str, tool: str) -> Row:
        return scenarios[key].row(tool) if key in scenarios else Row(tool, ())

    def ratio(key: str, tool: str, other: str) -> float | None:
        return quotient(row(key, tool).seconds, row(key, other).seconds)

    gib = scenarios["one-uncapped"].total / GIB if "one-uncapped" in scenarios else None
    per_gib = quotient(row("one-uncapped", "comfyport").cpu_seconds, gib)
    peaks = [peak for scenario in scenarios.values() if (peak := scenario.row("comfyport").peak_bytes) is not None]
    return [
        Target("one file, capped: curl's time / comfyport's", ratio("one-capped", "curl", "comfyport"), 9, True),
        Target("one file, capped: comfyport's time / aria2c's", ratio("one-capped", "comfyport", "aria2c"), 1),
        Target("one file, uncapped: comfyport's time / curl's", ratio("one-uncapped", "comfyport", "curl"), 1.2),
        Target(
            "one file, uncapped: comfyport's time / aria2c's with --checksum",
            ratio("one-uncapped", "comfyport", "aria2c --checksum"),
            0.5,
        ),
        Target("one file, uncapped: comfyport's CPU s per GiB", per_gib, 1.6),
        Target("everywhere: comfyport's peak MB", max(peaks) / 1e6 if peaks else None, 200),
    ]


def target_table(targets: Sequence[Target]) -> str:
    """The block that ends a report: each target with what was measured."""
    said = {True: "yes", False: "**no**", None: NONE}
    rows = [
        [
            target.text,
            f"at {'least' if target.at_least else 'most'} {target.limit:g}",
            "not measured" if target.value is None else f"{target.value:.2f}",
            said[target.met],
        ]
        for target in targets
    ]
    return "**Targets**\n\n" + markdown(("target", "wanted", "measured", "met"), rows)
