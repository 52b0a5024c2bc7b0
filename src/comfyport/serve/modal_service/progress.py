"""Tells how far a job is, from the GPU container that has it to whoever asks (modal 1.6).

modal 1.6 lets nobody look at the events of a call that was spawned: generators cannot be spawned, and the results of
`remote_gen` reach its caller alone and are lost with it. So whoever calls from Python gets a generator
(`ComfyUI.stream`), and every job, spawned or not, writes the latest of its events into the Dict besides: 256 of them
with the latest preview, twice a second at most. Any number of readers can follow there, leave, and come back. A
modal.Queue would hand events out sooner, but takes 5,000 a job, loses them after 24 h, and has no latest one for
`/status`; modal.experimental.Stream may do one day.
"""

import asyncio
import logging
import os
import socket
import time
from types import TracebackType
from typing import Self

from comfyport.errors import EndpointFailed
from comfyport.jobs.events import Event
from comfyport.serve.events import Backlog, StatusChanged
from comfyport.serve.modal_service.ledger import Account, Ledger

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
# The answer waits for the last word on its job; not for ever.
LAST_WORD_SECONDS = 10.0


class Teller:
    """Writes a job's account from `async with` to its end. What goes wrong with that ends in the log, not in the job.

    `retries` is the number of the attempt at the job; times in seconds since 1970.
    """

    def __init__(self, ledger: Ledger, job_id: str, *, queued_at: float, retries: int) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._queued_at = queued_at
        self._retries = retries
        self._loop = asyncio.get_running_loop()
        self._started_at = time.time()
        self._ended_at: float | None = None
        self._pending: list[Event] = []
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    def observe(self, event: Event) -> None:
        """Takes an event, from whatever thread."""
        self._loop.call_soon_threadsafe(self._take, event)

    async def __aenter__(self) -> Self:
        self._telling = asyncio.create_task(self._tell(), name=f"progress {self._job_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Returns once everything is told, or at once if the job was cancelled."""
        self._ended_at = time.time()
        self._over.set()
        self._news.set()
        if error is None:
            await asyncio.wait({self._telling}, timeout=LAST_WORD_SECONDS)
        self._telling.cancel()
        await asyncio.wait({self._telling})

    def _take(self, event: Event) -> None:
        self._pending.append(event)
        self._news.set()

    async def _tell(self) -> None:
        try:
            await self._keep_account()
        except EndpointFailed as error:
            logger.warning("the progress of this job is told no further: %s", error.message)

    async def _keep_account(self) -> None:
        before, _ = await asyncio.gather(self._ledger.account(self._job_id), self._ledger.leave_waiting(self._job_id))
        began = following_number(before, self._retries) + 1
        backlog = Backlog()
        backlog.last = began - 1
        backlog.add(StatusChanged("IN_PROGRESS"))
        while True:
            self._news.clear()
            ended_at, events, self._pending = self._ended_at, self._pending, []
            for event in events:
                backlog.add(event)
            told = [(item.number, item.event.as_json()) for item in backlog.after(0)]
            account = Account(
                retries=self._retries,
                worker=os.environ.get("MODAL_TASK_ID") or socket.gethostname(),
                queued_at=self._queued_at,
                started_at=self._started_at,
                began=began,
                told=told,
                ended_at=ended_at,
            )
            await self._ledger.tell(self._job_id, account)
            if ended_at is not None:
                return
            await self._news.wait()
            await _at_most(self._over, INTERVAL_SECONDS)


def following_number(before: Account | None, retries: int) -> int:
    """The number of the event that says that a job waits, for an attempt that has no account yet.

    The first is 1. Whatever has been told keeps its number: after an attempt's last event comes its end, then this one.
    """
    return (before.last if before else 1) + 2 * (retries - (before.retries if before else 0))


async def _at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
