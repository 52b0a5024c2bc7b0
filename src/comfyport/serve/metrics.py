"""What Prometheus is told, from a registry of our own. Labels have few values: no id, name or address among them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from comfyport import __version__
from comfyport.comfyui.process import State
from comfyport.serve.job import Job

# A picture takes seconds, a video many minutes.
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800, 3600)
FILE_STATES = ("waiting", "downloading", "ready", "failed")

Board = Callable[[], Mapping[str, dict[str, Any] | None]]


class Metrics:
    """The metrics of one door. `board` reads the status board when Prometheus asks."""

    def __init__(self, board: Board) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_BoardCollector(board))
        self._jobs = Counter("comfyport_jobs", "Jobs that ended.", ("outcome", "error_code"), registry=self._registry)
        self._waited = self._histogram("comfyport_job_wait_seconds", "Seconds that jobs waited in the queue.")
        self._executed = self._histogram("comfyport_job_execution_seconds", "Seconds that jobs were at work.")
        self._phases = self._histogram(
            "comfyport_job_phase_seconds", "Seconds by phase, of jobs that went well: their `timings`.", ("phase",)
        )
        self._webhooks = Counter(
            "comfyport_webhook_deliveries", "Webhooks by outcome.", ("outcome",), registry=self._registry
        )

    def watch_queue(self, counts: Callable[[], Mapping[str, float]]) -> None:
        """Adds gauges of the queue: `counts` maps the rest of each name to its value when Prometheus asks."""
        self._registry.register(_QueueCollector(counts))

    def job_ended(self, job: Job) -> None:
        """Counts a job."""
        answer = job.answer or {}
        self._jobs.labels(job.status.lower(), answer.get("error_code", "")).inc()
        if job.delay is not None:
            self._waited.observe(job.delay)
        if job.execution is not None:
            self._executed.observe(job.execution)
        for phase, seconds in (answer.get("timings") or {}).items():
            self._phases.labels(phase).observe(seconds)

    def webhook_ended(self, outcome: str) -> None:
        """Counts a delivery, or the end of the attempts at one."""
        self._webhooks.labels(outcome).inc()

    async def exposed(self, accept: str) -> tuple[bytes, str]:
        """All of it in the format that suits an `Accept` header, and that format's content type."""
        return _encoded(self._registry, accept)

    def _histogram(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, meaning, labels, buckets=SECONDS, registry=self._registry)


class Counted:
    """The metrics of a door whose queue is elsewhere: what `count` finds there now, by the rest of the gauges' names.

    Anything that adds up over time would start anew in each container of such a door.
    """

    def __init__(self, count: Callable[[], Awaitable[Mapping[str, float]]]) -> None:
        self._count = count

    async def exposed(self, accept: str) -> tuple[bytes, str]:
        """All of it in the format that suits an `Accept` header, and that format's content type."""
        counts = await self._count()
        registry = CollectorRegistry()
        registry.register(_QueueCollector(lambda: counts))
        return _encoded(registry, accept)


def _encoded(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _QueueCollector(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, float]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        for name, value in self._counts().items():
            yield GaugeMetricFamily(f"comfyport_queue_{name}", f"The queue's {name.replace('_', ' ')}.", value=value)


class _BoardCollector(Collector):
    """Reads the status board anew each time it is asked."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("comfyport_build", "This program.", {"version": __version__})
        sections = self._board()
        yield from _comfyui(sections.get("comfyui") or {})
        yield from _models(sections.get("models") or {})
        start = GaugeMetricFamily("comfyport_start_seconds", "Seconds until a phase was over.", labels=["phase"])
        for phase, seconds in ((sections.get("start") or {}).get("seconds") or {}).items():
            start.add_metric([phase], seconds)
        yield start


def _comfyui(section: dict[str, Any]) -> Iterator[Metric]:
    states = GaugeMetricFamily("comfyport_comfyui_state", "1 for the state that ComfyUI is in.", labels=["state"])
    for state in get_args(State):
        states.add_metric([state], float(section.get("state") == state))
    yield states
    restarts = section.get("restarts") or 0
    yield GaugeMetricFamily("comfyport_comfyui_restarts", "Starts of ComfyUI after the first.", value=restarts)


def _models(section: dict[str, Any]) -> Iterator[Metric]:
    files = section.get("files") or ()
    number = GaugeMetricFamily("comfyport_model_files", "Files of the lock by state.", labels=["state"])
    for state in FILE_STATES:
        number.add_metric([state], sum(file.get("state") == state for file in files))
    yield number
    ready = sum(file.get("bytes") or 0 for file in files if file.get("state") == "ready")
    size = GaugeMetricFamily("comfyport_model_bytes", "Bytes of the lock's files by state.", labels=["state"])
    size.add_metric(["ready"], ready)
    size.add_metric(["left"], section.get("bytes_left") or 0)
    yield size
    rate = section.get("bytes_per_second") or 0
    yield GaugeMetricFamily("comfyport_download_bytes_per_second", "The rate of the download.", value=rate)
