"""What the emulator writes down of the traffic, for tests to look at."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One HTTP request as it arrived; `at` is in seconds on the steady clock (`time.monotonic`)."""

    method: str
    path: str
    query: Mapping[str, str]
    authorization: str
    at: float

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Ping:
    """One heartbeat. A failed fitness check is an unhealthy one that names the `check` and the `reason`."""

    worker_id: str
    job_ids: tuple[str, ...]
    healthy: bool
    check: str
    reason: str
    sdk_version: str
    at: float
