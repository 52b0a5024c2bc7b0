"""Brings inputs to containers: one pool per function, which starts containers and lets idle ones go."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from modal_proto import api_pb2

FETCH_SECONDS = 10.0
DEFAULT_SCALEDOWN_SECONDS = 60.0


class Job(Protocol):
    """What the scheduler needs to know of an input."""

    id: str
    attempt: int
    output: Any
    started_at: float


JobT = TypeVar("JobT", bound=Job)


class Worker(Protocol):
    """What the scheduler needs to know of a container."""

    task_id: str
    stopping: bool

    def start(self) -> None:
        """Begins to start; returns at once."""

    def cancel_inputs(self, input_ids: list[str]) -> None:
        """Tells the container to give these inputs up."""

    def terminate(self, reason: str) -> None:
        """Ends the container, whatever it does."""


Launch = Callable[[str], Worker]
Finish = Callable[[JobT, Any], None]


class Pool(Generic[JobT]):
    """The inputs and containers of one function; `limit` is how many inputs one container takes at once."""

    def __init__(self, definition: Any, most_containers: int) -> None:
        self.definition = definition
        scaling = definition.autoscaler_settings
        self.limit: int = max(definition.max_concurrent_inputs, 1)
        self.least: int = scaling.min_containers
        self.most: int = min(scaling.max_containers or most_containers, most_containers)
        self.scaledown: float = scaling.scaledown_window or DEFAULT_SCALEDOWN_SECONDS
        self.pending: deque[JobT] = deque()
        self.workers: dict[Worker, dict[str, JobT]] = {}
        self.changed = asyncio.Event()

    def wake(self) -> None:
        """Lets every waiting container look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def live(self) -> list[Worker]:
        """The containers that take inputs."""
        return [worker for worker in self.workers if not worker.stopping]


class Scheduler(Generic[JobT]):
    """`definition(function_id)` looks a function up, `launch` makes a container, `finish` ends an input."""

    def __init__(self, definition: Callable[[str], Any], launch: Launch, most_containers: int) -> None:
        self._definition = definition
        self._launch = launch
        self._most_containers = most_containers
        self._pools: dict[str, Pool[JobT]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._cancelled: set[str] = set()
        self._closed: set[str] = set()
        self.finish: Finish[JobT]

    def submit(self, function_id: str, job: JobT) -> None:
        """Queues an input and starts a container if the ones at hand cannot take it."""
        if job.output is not None:
            return
        if function_id in self._closed:
            self._end(job, _terminated("The App was stopped."))
            return
        pool = self.pool(function_id)
        pool.pending.append(job)
        self._scale(function_id, pool)
        pool.wake()

    async def take(self, function_id: str, worker: Worker, most: int) -> list[JobT] | None:
        """The next inputs for a container, none after a while without any, or None when it shall end."""
        pool = self.pool(function_id)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not worker.stopping:
            if pool.pending:
                jobs = [pool.pending.popleft() for _ in range(min(most, len(pool.pending)))]
                for job in jobs:
                    self._begin(pool, worker, job)
                return jobs
            idle = loop.time() - begun
            if idle >= pool.scaledown and not pool.workers[worker] and len(pool.live) > pool.least:
                break
            if idle >= pool.scaledown and idle >= FETCH_SECONDS:
                return []
            patience = pool.scaledown - idle if idle < pool.scaledown else FETCH_SECONDS
            try:
                async with asyncio.timeout(min(FETCH_SECONDS, patience)):
                    await pool.changed.wait()
            except TimeoutError:
                continue
        worker.stopping = True
        return None

    def done(self, function_id: str, worker: Worker, job: JobT, result: Any) -> bool:
        """Hears of an attempt's end. False when it failed and is tried again."""
        pool = self.pool(function_id)
        pool.workers.get(worker, {}).pop(job.id, None)
        timer = self._timers.pop(job.id, None)
        if timer is not None:
            timer.cancel()
        policy = pool.definition.retry_policy
        failed = result.status == api_pb2.GenericResult.GENERIC_STATUS_FAILURE
        if not failed or job.attempt >= policy.retries:
            return True
        delay = policy.initial_delay_ms * policy.backoff_coefficient**job.attempt
        job.attempt += 1
        asyncio.get_running_loop().call_later(
            min(delay, policy.max_delay_ms or delay) / 1000, self.submit, function_id, job
        )
        return False

    def gone(self, function_id: str, worker: Worker, result: Any) -> None:
        """Hears that a container ended. `result` is why, if it failed: then what it had in hand fails too."""
        pool = self.pool(function_id)
        taken = pool.workers.pop(worker, {})
        for job in taken.values():
            if job.output is not None:
                continue
            if result is not None:
                self._end(job, result)
            elif job.id in self._cancelled or function_id in self._closed:
                self._end(job, _terminated("The call was cancelled."))
            else:
                pool.pending.appendleft(job)
        while result is not None and pool.pending and not pool.live:
            self._end(pool.pending.popleft(), result)
        self._scale(function_id, pool)

    def cancel(self, function_id: str, job: JobT, *, terminate: bool) -> None:
        """Gives an input up, wherever it is."""
        pool = self.pool(function_id)
        self._cancelled.add(job.id)
        runs_in = [worker for worker, jobs in pool.workers.items() if job.id in jobs]
        for worker in runs_in:
            worker.cancel_inputs([job.id])
            if terminate:
                worker.terminate("the call was cancelled with terminate_containers")
        if job in pool.pending:
            pool.pending.remove(job)
        if not runs_in:
            self._end(job, _terminated("The call was cancelled."))

    def keep_warm(self, function_id: str) -> None:
        """Starts the containers that `min_containers` asks for."""
        self._scale(function_id, self.pool(function_id))

    def retire(self, function_ids: set[str]) -> None:
        """Lets the containers of these functions end after what they do now; later ones are new."""
        for function_id in function_ids & self._pools.keys():
            pool = self._pools[function_id]
            for worker in pool.workers:
                worker.stopping = True
            pool.wake()
            fresh = Pool[JobT](self._definition(function_id), self._most_containers)
            fresh.workers, fresh.pending = pool.workers, pool.pending
            self._pools[function_id] = fresh

    def abandon(self, function_ids: set[str]) -> None:
        """Ends what waits for these functions, now and later: their App was stopped."""
        self._closed |= function_ids
        for function_id in function_ids & self._pools.keys():
            while self._pools[function_id].pending:
                self._end(self._pools[function_id].pending.popleft(), _terminated("The App was stopped."))

    def stats(self, function_id: str) -> Any:
        """Backlog and containers, as `FunctionStats`."""
        pool = self.pool(function_id)
        running = sum(len(jobs) for jobs in pool.workers.values())
        return api_pb2.FunctionStats(
            backlog=len(pool.pending), num_total_tasks=len(pool.live), num_running_inputs=running
        )

    def retry_policy(self, function_id: str) -> Any:
        """The retries that a function asks for."""
        return self.pool(function_id).definition.retry_policy

    def pool(self, function_id: str) -> Pool[JobT]:
        """The pool of a function."""
        if function_id not in self._pools:
            self._pools[function_id] = Pool(self._definition(function_id), self._most_containers)
        return self._pools[function_id]

    def _scale(self, function_id: str, pool: Pool[JobT]) -> None:
        while len(pool.live) < pool.most and function_id not in self._closed:
            room = sum(pool.limit - len(pool.workers[worker]) for worker in pool.live)
            if room >= len(pool.pending) and len(pool.live) >= pool.least:
                break
            worker = self._launch(function_id)
            pool.workers[worker] = {}
            worker.start()

    def _begin(self, pool: Pool[JobT], worker: Worker, job: JobT) -> None:
        job.started_at = time.time()
        pool.workers[worker][job.id] = job
        seconds = pool.definition.timeout_secs
        if seconds:
            loop = asyncio.get_running_loop()
            self._timers[job.id] = loop.call_later(seconds, self._time_out, worker, job, seconds)

    def _time_out(self, worker: Worker, job: JobT, seconds: int) -> None:
        self._end(
            job,
            api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
                exception=f"Task's current input {job.id} hit its timeout of {seconds}s",
            ),
        )
        worker.terminate(f"input {job.id} ran longer than {seconds} s")

    def _end(self, job: JobT, result: Any) -> None:
        timer = self._timers.pop(job.id, None)
        if timer is not None:
            timer.cancel()
        self.finish(job, result)


def _terminated(reason: str) -> Any:
    status = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
    return api_pb2.GenericResult(status=status, exception=reason)
