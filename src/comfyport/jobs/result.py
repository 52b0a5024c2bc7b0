"""The answer to a job: worker-comfyui's, with timings."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any


class Timings:
    """Seconds per phase of a job: `wait_models`, `inputs`, `queue`, `execute`, `outputs`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.reached = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures what happens inside `with`; a phase in two parts is added up."""
        self.reached = name
        started = monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - started

    def as_json(self) -> dict[str, float]:
        """Seconds, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}


def answer(lists: dict[str, Any], problems: tuple[str, ...], timings: Timings) -> dict[str, Any]:
    """The answer to a job that went well.

    As worker-comfyui has it, `status` tells one that left nothing to deliver, and `errors` what is missing of the rest.
    """
    status = {} if lists else {"status": "success_no_images"}
    errors = {"errors": list(problems)} if problems else {}
    return {**status, "images": [], **lists, **errors, "timings": timings.as_json()}
