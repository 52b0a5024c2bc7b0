"""Makes the HTTP face's job of what Modal and the ledger know, and lets readers follow it (modal 1.6).

Nothing is kept between two requests, which may reach different containers: whoever follows a job asks for its account
again and again while it reads, and not a moment longer.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from comfyport.errors import EndpointFailed, PolicyExceeded
from comfyport.serve.events import Backlog, Ended, Heard, News, StatusChanged, Tellable, Told
from comfyport.serve.job import Job
from comfyport.serve.modal_service.calls import Outcome
from comfyport.serve.modal_service.ledger import KEEP_SECONDS, Account, Record
from comfyport.serve.modal_service.progress import INTERVAL_SECONDS, following_number

logger = logging.getLogger(__name__)

Look = Callable[[], Awaitable[Job]]


class Followed(Backlog):
    """The events of a job that runs elsewhere; `look` fetches the job as it is now."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self.job: Job

    @property
    def news(self) -> News:
        """Waiting for it brings the job up to date."""
        return _Next(self, self.last)

    async def look_again(self) -> None:
        """Brings the job and its events up to date."""
        fresh = await self._look()
        for name in ("status", "answer", "queued_at", "started_at", "ended_at", "expires_at", "retries", "worker"):
            setattr(self.job, name, getattr(fresh, name))
        self.replace(fresh.events.after(0), fresh.events.progress)


class _Next:
    """Waits until there is more than a reader has seen."""

    def __init__(self, events: Followed, seen: int) -> None:
        self._events = events
        self._seen = seen

    async def wait(self) -> None:
        while self._events.last == self._seen:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self._events.look_again()
            except EndpointFailed as error:
                logger.warning("a job cannot be followed for the moment: %s", error.message)


def job(job_id: str, record: Record | None, outcome: Outcome, account: Account | None, look: Look) -> Job:
    """The job as it is now. `account` must have been read after `outcome`: its last word comes before the answer."""
    events = Followed(look)
    made = events.job = Job(job_id, events=events)
    if record:
        made.webhook, made.queued_at, made.retries = record.webhook, record.queued_at, record.retries
    ours = account if account and account.retries == made.retries else None
    if ours:
        made.queued_at, made.started_at, made.ended_at = ours.queued_at, ours.started_at, ours.ended_at
        made.worker = ours.worker
    _settle(made, record, outcome)
    if made.ended:
        made.expires_at = (made.ended_at or time.time()) + KEEP_SECONDS
    _fill(events, account, ours)
    return made


def _settle(made: Job, record: Record | None, outcome: Outcome) -> None:
    """Gives the job its status and answer. What a client was told once stays so: a cancelled job is cancelled."""
    ttl = record.ttl if record else None
    if record and record.cancelled:
        made.status = "CANCELLED"
    elif outcome.status != "IN_PROGRESS":
        made.status, made.answer = outcome.status, outcome.answer
    elif ttl is not None and time.time() > made.queued_at + ttl:
        # Its container will find so too, as soon as it has the job or a moment later.
        made.status, made.answer = "TIMED_OUT", PolicyExceeded("ttl", seconds=ttl).as_answer()
    elif made.started_at is not None:
        made.status = "IN_PROGRESS"


def _fill(events: Followed, account: Account | None, ours: Account | None) -> None:
    """The events of the job, with those that no container tells: that it waits, and its end."""
    progress: Tellable | None = None
    waits = ours.began - 1 if ours else following_number(account, events.job.retries)
    told = [Told(waits, StatusChanged("IN_QUEUE"))]
    for number, content in ours.told if ours else ():
        told.append(Told(number, Heard(content)))
        if content["type"] not in ("status", "preview"):
            progress = Heard(content)
    if events.job.ended:
        told.append(Told(told[-1].number + 1, Ended(events.job.status)))
    events.replace(told, progress)
