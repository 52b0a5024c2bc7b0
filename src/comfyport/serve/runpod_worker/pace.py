"""Takes a job, performs it, posts its result, takes the next: what the SDK's JobScaler does, without its pauses.

The SDK (rp_scale.py) sleeps for a second after each job and looks every 0.1 s whether one has come; asks a platform
that cannot be reached again without any pause; drops a stop that comes just before its job; and leaves its long poll
only when that returns. One job at a time stays one: the next is taken when the result of the last has been posted,
so that no job waits here which an idle worker could have had.
"""

import asyncio
import logging
import signal
from collections.abc import Collection, Coroutine
from typing import Any, Protocol

import aiohttp
from runpod.http_client import AsyncClientSession, TooManyRequests
from runpod.serverless.modules import rp_http, rp_job, rp_scale
from runpod.serverless.modules.rp_logger import RunPodLogger
from runpod.serverless.modules.worker_state import JobsProgress

from comfyport.errors import ComfyportError
from comfyport.jobs.events import Observer
from comfyport.serve.runpod_worker.outage import Outage, reason
from comfyport.serve.runpod_worker.posts import Posts
from comfyport.serve.runpod_worker.reporter import Reporter
from comfyport.serve.runpod_worker.stops import Stops

logger = logging.getLogger(__name__)

Json = dict[str, Any]

# As in the SDK: how long a poll for a job is held at most, and the pause after a 429.
TAKE_SECONDS = 90.0
DEBOUNCE_SECONDS = 5.0
# A poll that comes back at once and empty (a worker that FlashBoot is about to freeze gets 400s) is asked again then.
EMPTY_SECONDS = 0.2
# How much longer than a running job a result may take whose post is under way. RunPod kills 10 s after it asked, and
# with the default STOP_SECONDS ComfyUI keeps 3 s of them to end in.
POST_SECONDS = 3.0


class Host(Protocol):
    """What performs the jobs: a `serve.host.Host`."""

    async def run(self, job: Json, observe: Observer) -> Json:
        """The answer to a job; `observe` may be called in any thread."""

    async def wait_failure(self) -> ComfyportError:
        """Returns why no job can be performed any more, as soon as that is clear."""


def install(host: Host, *, stream: bool, grace: float) -> None:
    """Puts the pace into the SDK, under the one name by which its `run_worker` finds the JobScaler."""
    rp_scale.JobScaler = lambda config: Pace(host, stream=stream, grace=grace)


class Pace:
    """The life of a worker under RunPod's SDK, in the place of its JobScaler; `stream` feeds `/stream` as well.

    `grace` is how many seconds a running job has after a signal to stop.
    """

    def __init__(self, host: Host, *, stream: bool, grace: float) -> None:
        self._host = host
        self._stream = stream
        self._grace = grace
        self._log = RunPodLogger()
        self._progress = JobsProgress()
        self._ending = asyncio.Event()
        self._taking: asyncio.Task[Any] | None = None
        self._jobs: dict[str, asyncio.Task[bool]] = {}
        self._posting: set[str] = set()
        self._signal = 0
        self._stopping = False
        self._failure: ComfyportError | None = None

    def start(self) -> None:
        """Works until RunPod or a signal ends it. The SDK calls this.

        Raises SystemExit if a job was cut short, ComfyportError if the worker cannot go on.
        """
        asyncio.run(self._live())
        if self._failure:
            raise self._failure
        if self._signal:
            raise SystemExit(128 + self._signal)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        async with AsyncClientSession() as session:
            self._posts = Posts(session, done_url=rp_http.JOB_DONE_URL, stream_url=rp_http.JOB_STREAM_URL)
            self._stops = Stops(lambda: rp_job.get_stop_signals(session), self._stop)
            beside = [asyncio.create_task(self._beside(work)) for work in (self._stops.hear(), self._watch())]
            try:
                await self._work(session)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _work(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        outage = Outage("asking for a job")
        while not self._ending.is_set():
            asked_at = loop.time()
            self._taking = asyncio.create_task(rp_job.get_job(session, 1))
            await asyncio.wait({self._taking}, timeout=TAKE_SECONDS)
            if not self._taking.done():
                self._taking.cancel()
            elif self._taking.cancelled():
                continue
            elif error := self._taking.exception():
                too_many = isinstance(error, TooManyRequests)
                await self._pause(DEBOUNCE_SECONDS if too_many else outage.failed(reason(error)))
            else:
                outage.over()
                jobs = self._taking.result() or []
                for job in jobs:
                    await self._perform(job)
                if not jobs and loop.time() - asked_at < EMPTY_SECONDS:
                    await self._pause(EMPTY_SECONDS)

    async def _perform(self, job: Json) -> None:
        job_id = job["id"]
        if self._stops.arrived(job_id):
            self._log.info("Stopped before it arrived.", job_id)
            return
        self._progress.add(job_id)
        answering = asyncio.create_task(self._answer(job))
        self._jobs[job_id] = answering
        try:
            await asyncio.wait({answering})
        finally:
            del self._jobs[job_id]
            self._posting.discard(job_id)
            self._progress.remove(job_id)
        if answering.cancelled():
            self._log.info("Job stopped.", job_id)
        elif answering.result():
            self._ending.set()

    async def _answer(self, job: Json) -> bool:
        """Performs a job and posts its answer; whether that asks for the worker's end."""
        job_id = job["id"]
        self._log.info("Started.", job_id)

        async def tell(event: Json) -> bool:
            heard = await self._posts.progress(job_id, event)
            return heard and (not self._stream or await self._posts.chunk(job_id, event))

        async with Reporter(tell) as reporter:
            answer = await self._host.run(job, reporter.observe)
        self._posting.add(job_id)
        await self._posts.result(job_id, answer)
        self._log.info("Finished.", job_id)
        return bool(answer.get("refresh_worker"))

    def _stop(self, job_id: str) -> bool:
        """Stops a job on the platform's behalf; whether it is at work."""
        answering = self._jobs.get(job_id)
        if answering:
            answering.cancel()
        return answering is not None

    async def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Does `work`; should it break, the worker ends after its job: deaf for cancels, it would only seem well."""
        try:
            await work
        except Exception as error:
            logger.exception("the worker cannot go on")
            self._failure = ComfyportError(f"An unexpected error occurred: {error}")
            self._end()

    async def _watch(self) -> None:
        self._failure = await self._host.wait_failure()
        self._end()

    def _on_signal(self, number: int) -> None:
        """Takes no job any more; the running one may end within reason, or at once if it is said twice."""
        logger.info("stopping on %s", signal.Signals(number).name)
        loop = asyncio.get_running_loop()
        grace, more = (0.0, 0.0) if self._stopping else (self._grace, POST_SECONDS)
        self._stopping = True
        loop.call_later(grace, self._cut, number, self._posting)
        loop.call_later(grace + more, self._cut, number, ())
        self._end()

    def _end(self) -> None:
        self._ending.set()
        if self._taking:
            self._taking.cancel()

    def _cut(self, number: int, spared: Collection[str]) -> None:
        for job_id, answering in self._jobs.items():
            if job_id not in spared:
                self._signal = number
                answering.cancel()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return
