"""A job of the HTTP door: what was sent, and what became of it, in the words of RunPod's API."""

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from comfyport.errors import ResultDropped
from comfyport.serve.events import Backlog, Ended, StatusChanged

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
# What a number, a key or an empty list take in memory, roughly.
SMALL = 64


@dataclass(frozen=True)
class Submission:
    """What a client sent; `size` in bytes, times in seconds.

    `bucket` is RunPod's `s3Config`. `key` is the Idempotency-Key, `digest` tells whether a body is the same again.
    """

    input: Any = field(repr=False)
    bucket: Any = field(default=None, repr=False)
    webhook: str = field(default="", repr=False)
    execution_timeout: float | None = None
    ttl: float | None = None
    key: str = ""
    digest: str = ""
    size: int = 0


@dataclass
class Job:
    """A job and what became of it; times in seconds since 1970.

    `dropped`: its result was given up to make room. `worker` names the container that has it or had it.
    """

    id: str
    submission: Submission | None = field(default=None, repr=False)
    status: Status = "IN_QUEUE"
    answer: dict[str, Any] | None = field(default=None, repr=False)
    events: Backlog = field(default_factory=Backlog, repr=False)
    webhook: str = field(default="", repr=False)
    queued_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    retries: int = 0
    dropped: bool = False
    worker: str = field(default_factory=socket.gethostname)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more, unless somebody asks for a retry."""
        return self.status in FINAL

    @property
    def delay(self) -> float | None:
        """Seconds that it waited; None while it waits."""
        return None if self.started_at is None else max(0.0, self.started_at - self.queued_at)

    @property
    def execution(self) -> float | None:
        """Seconds that it ran; None until it has."""
        return None if self.started_at is None or self.ended_at is None else max(0.0, self.ended_at - self.started_at)

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, roughly."""
        return (self.submission.size if self.submission else 0) + weigh(self.answer) + self.events.size

    def for_handler(self) -> dict[str, Any]:
        """The job as the handler takes it."""
        assert self.submission is not None  # noqa: S101 - it is kept until the job has ended
        bucket = {"s3Config": self.submission.bucket} if self.submission.bucket is not None else {}
        return {"id": self.id, "input": self.submission.input, **bucket}

    def wait_in_queue(self) -> None:
        """It waits, for the first time or again."""
        self.status, self.answer = "IN_QUEUE", None
        self.queued_at, self.started_at, self.ended_at, self.expires_at = time.time(), None, None, None
        self.events.add(StatusChanged("IN_QUEUE"))

    def begin(self) -> None:
        """The worker has it now."""
        self.status, self.started_at = "IN_PROGRESS", time.time()
        self.events.add(StatusChanged("IN_PROGRESS"))

    def end(self, status: Status, answer: dict[str, Any] | None) -> None:
        """It is over. What was sent is kept only where a retry may want it."""
        self.status, self.answer, self.ended_at = status, answer, time.time()
        if status not in ("FAILED", "TIMED_OUT"):
            self.submission = None
        self.events.add(Ended(status))

    def drop(self) -> None:
        """Its result is given up; that it ended, and how, is remembered."""
        self.answer, self.submission, self.dropped = None, None, True
        self.events.clear()

    def as_json(self) -> dict[str, Any]:
        """The job as RunPod's `/status` shows one; times in milliseconds, `output` of a running job is its progress.

        `expiresAt` is ours: until then the result is kept.
        """
        shown: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.delay is not None:
            shown |= {"delayTime": round(self.delay * 1000), "workerId": self.worker}
        if self.execution is not None:
            shown["executionTime"] = round(self.execution * 1000)
        if self.retries:
            shown["retries"] = self.retries
        if self.expires_at is not None:
            shown["expiresAt"] = datetime.fromtimestamp(self.expires_at, UTC).isoformat(timespec="seconds")
        if self.status == "IN_PROGRESS" and self.events.progress:
            shown["output"] = self.events.progress.as_json()
        answer = ResultDropped(self.id, self.status).as_answer() if self.dropped else self.answer
        if answer is not None:
            rest = {key: value for key, value in answer.items() if key != "error"}
            shown |= {"output": rest} if rest else {}
            shown |= {"error": answer["error"]} if "error" in answer else {}
        return shown


def weigh(value: Any) -> int:
    """Bytes that a JSON value takes in memory, roughly: its texts, and a little for everything else."""
    total, left = 0, [value]
    while left:
        found = left.pop()
        if isinstance(found, str | bytes):
            total += len(found)
            continue
        total += SMALL
        inner: Iterable[Any] = ()
        if isinstance(found, dict):
            inner = (*found, *found.values())
        elif isinstance(found, list | tuple):
            inner = found
        left.extend(inner)
    return total
