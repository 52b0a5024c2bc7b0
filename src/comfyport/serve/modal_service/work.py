"""A job in its GPU container: what came with it is kept to, and whoever watches is told (modal 1.6)."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import modal

from comfyport.errors import EndpointFailed, PolicyExceeded
from comfyport.jobs.events import Event, Observer, unobserved
from comfyport.serve.host import Host, shared
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.ledger import Ledger
from comfyport.serve.modal_service.progress import Teller

logger = logging.getLogger(__name__)

Json = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """What the HTTP face asks of a job's container; it travels with the job, as `terms`.

    Times in seconds, `queued_at` since 1970. `kept`: the ledger has the input, until the job has gone well.
    """

    queued_at: float
    execution_timeout: float | None = None
    ttl: float | None = None
    webhook: str = ""
    retries: int = 0
    kept: bool = False

    @classmethod
    def of(cls, job: Json) -> Self:
        """The terms of a job; one that was sent without the HTTP face has none."""
        return cls(**(job.get("terms") or {"queued_at": time.time()}))

    def as_json(self) -> Json:
        """The form in which they travel."""
        return asdict(self)

    def limit(self) -> tuple[float, PolicyExceeded] | None:
        """Seconds until a policy ends the job, and that policy; not above 0 for a job that has waited too long."""
        limits = []
        if self.execution_timeout is not None:
            limits.append((self.execution_timeout, "executionTimeout", self.execution_timeout))
        if self.ttl is not None:
            limits.append((self.queued_at + self.ttl - time.time(), "ttl", self.ttl))
        if not limits:
            return None
        left, policy, seconds = min(limits)
        return left, PolicyExceeded(policy, seconds=seconds)


async def answer(job: Json, *, app: str, volume: Any, notify: Any, observe: Observer = unobserved) -> Json:
    """The answer to a job, whose id is its call's unless it brings one.

    What the job has put on `volume` is there for others then; `notify` is the function that posts webhooks. Only
    cancelling raises, and takes the job out of ComfyUI.
    """
    ledger, terms = Ledger(app), Terms.of(job)
    job_id = str(job.get("id") or modal.current_function_call_id())
    host: Host = await asyncio.to_thread(shared)
    async with Teller(ledger, job_id, queued_at=terms.queued_at, retries=terms.retries) as teller:

        def both(event: Event) -> None:
            teller.observe(event)
            observe(event)

        given = {key: value for key, value in job.items() if key != "terms"}
        result = await _within(terms, host, {**given, "id": job_id}, both)
    await sharing.keep_outputs(volume, result)
    refresh = result.pop("refresh_worker", False)
    try:
        await _afterwards(ledger, job_id, terms, notify, refresh=refresh, went_well="error" not in result)
    except (EndpointFailed, modal.exception.Error) as error:
        # The job is done: that nobody can be told of it does not make it fail.
        logger.error("the end of job %s could not be passed on: %s", job_id, error)
    return result


async def events(job: Json, *, app: str, volume: Any, notify: Any) -> AsyncIterator[Json]:
    """What a job tells, as it tells it, then `{"type": "result", "output": <its answer>}`."""
    told: asyncio.Queue[Event | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hear(event: Event) -> None:
        loop.call_soon_threadsafe(told.put_nowait, event)

    running = asyncio.create_task(answer(job, app=app, volume=volume, notify=notify, observe=hear))
    running.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while event := await told.get():
            yield event.as_json()
        yield {"type": "result", "output": await running}
    finally:
        running.cancel()
        await asyncio.wait({running})


async def _within(terms: Terms, host: Host, job: Json, observe: Observer) -> Json:
    """The worker's answer, or that a policy ended the job."""
    limit = terms.limit()
    if limit is None:
        return await host.run(job, observe)
    left, exceeded = limit
    deadline = asyncio.timeout(left)
    try:
        if left > 0:
            async with deadline:
                return await host.run(job, observe)
    except TimeoutError:
        if not deadline.expired():
            raise
    return exceeded.as_answer()


async def _afterwards(
    ledger: Ledger, job_id: str, terms: Terms, notify: Any, *, refresh: bool, went_well: bool
) -> None:
    """Does what a job's end asks for. Raises EndpointFailed, or an error of Modal's."""
    if terms.webhook:
        await notify.spawn.aio(job_id, terms.webhook)
    if refresh:
        logger.info("this container takes no more jobs, as its worker asks")
        await modal.experimental.stop_fetching_inputs.aio()
    if terms.kept and went_well:
        await ledger.drop_input(job_id)
