"""Keeps jobs where they can be asked for: by id, by idempotency key, for a while, within a bound of memory."""

import time
from collections import OrderedDict
from itertools import islice

from comfyport.errors import IdempotencyKeyReused, JobUnknown
from comfyport.serve.job import Job, Submission


class Shelf:
    """Jobs that wait, run, or ended less than `keep_seconds` ago.

    Together they take at most `keep_bytes` and one result: the oldest results are dropped first.
    """

    def __init__(self, *, keep_seconds: float, keep_bytes: int) -> None:
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._jobs: dict[str, Job] = {}
        self._keys: dict[str, tuple[str, str]] = {}
        self._key_of: dict[str, str] = {}
        self._ended: OrderedDict[str, Job] = OrderedDict()
        self._with_result: OrderedDict[str, Job] = OrderedDict()
        self._weights: dict[str, int] = {}
        self.bytes = 0
        self.dropped = 0

    def find(self, job_id: str) -> Job:
        """The job of this id. Raises JobUnknown."""
        self._forget_old()
        try:
            return self._jobs[job_id]
        except KeyError:
            raise JobUnknown(job_id) from None

    def latest(self, number: int) -> list[Job]:
        """The jobs that were sent last, the newest first."""
        self._forget_old()
        return list(islice(reversed(self._jobs.values()), number))

    def same(self, submission: Submission) -> Job | None:
        """The job that was sent with this idempotency key before. Raises IdempotencyKeyReused for another body."""
        self._forget_old()
        if not submission.key or submission.key not in self._keys:
            return None
        job_id, digest = self._keys[submission.key]
        if digest != submission.digest:
            raise IdempotencyKeyReused(job_id)
        return self._jobs[job_id]

    def has_room(self, size: int) -> bool:
        """Whether that many bytes more fit; results make way for them, unless that would not suffice."""
        self._forget_old()
        if self.bytes + size <= self._keep_bytes:
            return True
        if self.bytes - sum(self._weights[job_id] for job_id in self._with_result) + size > self._keep_bytes:
            return False
        self._make_room(size)
        return self.bytes + size <= self._keep_bytes

    def add(self, job: Job) -> None:
        """Takes in a job that was just sent."""
        self._jobs[job.id] = job
        self._weigh(job)
        if job.submission and job.submission.key:
            self._keys[job.submission.key] = job.id, job.submission.digest
            self._key_of[job.id] = job.submission.key

    def keep(self, job: Job) -> None:
        """A job has ended: its result is kept from now on, if need be at the expense of older ones."""
        job.expires_at = time.time() + self._keep_seconds
        self._ended[job.id] = self._with_result[job.id] = job
        self._weigh(job)
        self._make_room(0, sparing=job)

    def run_again(self, job: Job) -> None:
        """A job that had ended is taken up once more."""
        del self._ended[job.id]
        self._with_result.pop(job.id, None)
        self._weigh(job)

    def _weigh(self, job: Job) -> None:
        size = job.size
        self.bytes += size - self._weights.get(job.id, 0)
        self._weights[job.id] = size

    def _make_room(self, size: int, sparing: Job | None = None) -> None:
        while self.bytes + size > self._keep_bytes and self._with_result:
            oldest = next(iter(self._with_result.values()))
            if oldest is sparing:
                return
            del self._with_result[oldest.id]
            oldest.drop()
            self.dropped += 1
            self._weigh(oldest)

    def _forget_old(self) -> None:
        now = time.time()
        while self._ended:
            job = next(iter(self._ended.values()))
            if job.expires_at is None or job.expires_at > now:
                return
            del self._ended[job.id], self._jobs[job.id]
            self._with_result.pop(job.id, None)
            self.bytes -= self._weights.pop(job.id)
            self._keys.pop(self._key_of.pop(job.id, ""), None)
