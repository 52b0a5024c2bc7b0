"""The answer to a job: worker-comfyui's, with timings."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any


class Timings:
    """Seconds per phase of a job: `wait_models`, `inputs`, `queue`, `execute`, `outputs`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures what happens inside `with`."""
        started = monotonic()
        try:
            yield
        finally:
            self.seconds[name] = monotonic() - started

    def as_json(self) -> dict[str, float]:
        """Seconds, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}


def answer(lists: dict[str, Any], timings: Timings) -> dict[str, Any]:
    """The answer to a job that went well; `status` tells one that left nothing to deliver, as worker-comfyui does."""
    status = {} if lists else {"status": "success_no_images"}
    return {**status, "images": [], **lists, "timings": timings.as_json()}
