"""The id of the job that the running task works on, for the lines that it writes to the log."""

from contextvars import ContextVar
from typing import Any

job_id: ContextVar[str] = ContextVar("job_id", default="")


def job_name(job: Any) -> str:
    """The id that a job came with, fit for one line of a log; empty if it has none."""
    given = str(job.get("id") or "") if isinstance(job, dict) else ""
    return "".join(letter for letter in given[:100] if letter.isprintable())
