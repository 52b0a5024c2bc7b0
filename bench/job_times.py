"""When jobs were begun and answered, and ComfyUI's own work on them -> overhead, gaps, jobs per second. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.tables import NONE

COLUMNS = ("worker", "overhead ms: p50 / p95", "gap ms: p50 / p95", "job ms: p50 / p95", "jobs/s")


@dataclass(frozen=True)
class JobTime:
    """One job, in seconds: when it was handed to the worker and answered, and ComfyUI's own work on it."""

    started: float
    finished: float
    comfyui: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.finished - self.started


@dataclass(frozen=True)
class Series:
    """The jobs that a worker did one after the other."""

    worker: str
    jobs: tuple[JobTime, ...]

    @property
    def overheads(self) -> list[float]:
        """What each job took beyond ComfyUI's own work, in ms."""
        return [(job.seconds - job.comfyui) * 1000 for job in self.jobs]

    @property
    def gaps(self) -> list[float]:
        """The time between an answer and the next job, in ms."""
        ordered = sorted(self.jobs, key=lambda job: job.started)
        return [(after.started - job.finished) * 1000 for job, after in pairwise(ordered)]

    @property
    def per_second(self) -> float:
        """Jobs per second from the first one's begin to the last one's end."""
        return len(self.jobs) / (max(job.finished for job in self.jobs) - min(job.started for job in self.jobs))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def cells(series: Series, *, gaps: bool = True) -> list[str]:
    """A row of the table; without `gaps` where the next job waits for its client, not for the worker."""
    return [
        series.worker,
        _pair(series.overheads),
        _pair(series.gaps) if gaps else NONE,
        _pair([job.seconds * 1000 for job in series.jobs]),
        f"{series.per_second:.1f}",
    ]


def _pair(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.1f} / {percentile(values, 0.95):.1f}"
