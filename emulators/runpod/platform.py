"""The emulator as tests and programs hold it: starts, submits, waits, and shows what happened."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from aiohttp import web

from emulators.runpod.client_api import ClientApi, Terms
from emulators.runpod.dispatcher import Dispatcher
from emulators.runpod.endpoint import Endpoint
from emulators.runpod.faults import Faults
from emulators.runpod.jobs import FINAL, Job, JsonObject, Policy
from emulators.runpod.records import Ping, Request
from emulators.runpod.webhooks import WebhookPost
from emulators.runpod.worker_api import WorkerApi
from emulators.server import LoopbackServer

# Far above every limit: what is too big shall reach the code that says so.
LARGEST_BODY = 256 * 1024 * 1024

T = TypeVar("T")


class RunPodEmulator(LoopbackServer):
    """One serverless endpoint on loopback, for real workers and real clients.

    `poll_seconds` is how long job-take and job-stop are held open; a worker that got SIGTERM leaves when they
    return. A job may bring its own `policy`; `execution_timeout_seconds` and `ttl_seconds` are for others.
    Results are forgotten `run_results_seconds` (`runsync_results_seconds`) after the job's end, then 404.
    Passing faults strike once per mention in `faults` (see `faults.py`).
    End the workers before the emulator: an SDK worker whose platform is unreachable spins without any pause.
    """

    def __init__(
        self,
        endpoint_id: str = "local",
        api_key: str = "rp_test",
        *,
        faults: Iterable[str] = (),
        port: int = 0,
        poll_seconds: float = 5.0,
        execution_timeout_seconds: float = 600.0,
        ttl_seconds: float = 86_400.0,
        run_results_seconds: float = 1800.0,
        runsync_results_seconds: float = 60.0,
        webhook_retry_seconds: float = 10.0,
        slow_take_seconds: float = 2.0,
        slow_progress_seconds: float = 2.0,
    ) -> None:
        self.endpoint_id = endpoint_id
        self.api_key = api_key
        self.requests: list[Request] = []
        self.faults = Faults(faults)
        self._endpoint = Endpoint()
        self._dispatcher = Dispatcher(self._endpoint, self.faults, webhook_retry_seconds=webhook_retry_seconds)
        self._workers = WorkerApi(
            self._dispatcher,
            poll_seconds=poll_seconds,
            slow_take_seconds=slow_take_seconds,
            slow_progress_seconds=slow_progress_seconds,
        )
        terms = Terms(Policy(execution_timeout_seconds, ttl_seconds), run_results_seconds, runsync_results_seconds)
        self._clients = ClientApi(self._dispatcher, api_key=api_key, terms=terms)
        super().__init__(self._application(), port=port)

    @property
    def base_url(self) -> str:
        """What `runpod.endpoint_url_base` or RUNPOD_ENDPOINT_BASE_URL has to be for clients."""
        return f"{self.url}/v2"

    @property
    def jobs(self) -> dict[str, Job]:
        """Every job there ever was, by id, oldest first."""
        return dict(self._endpoint.jobs)

    @property
    def pings(self) -> list[Ping]:
        """The workers' heartbeats and failed fitness checks, oldest first."""
        return self._workers.pings

    @property
    def stopped_workers(self) -> list[str]:
        """The ids of workers that asked for their pod to be stopped (`refresh_worker`), in that order."""
        return self._endpoint.stopped_workers

    @property
    def webhook_posts(self) -> list[WebhookPost]:
        """Every attempt to deliver a webhook, oldest first."""
        return self._dispatcher.webhooks.posts

    def environment(self, worker_id: str = "worker-1", *, ping_seconds: int = 10) -> dict[str, str]:
        """The variables that make a process a worker of this endpoint. `$ID` stays: the SDK fills it in."""
        base = f"{self.base_url}/{self.endpoint_id}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=CPU",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=CPU",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=CPU",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=CPU",
            "RUNPOD_PING_INTERVAL": str(ping_seconds * 1000),
            "RUNPOD_AI_API_KEY": self.api_key,
            "RUNPOD_POD_ID": worker_id,
            "RUNPOD_ENDPOINT_ID": self.endpoint_id,
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_LOG_LEVEL": "INFO",
        }

    def submit(
        self,
        job_input: Any,
        *,
        policy: JsonObject | None = None,
        webhook: str | None = None,
        s3_config: JsonObject | None = None,
    ) -> str:
        """Queues a job as `/run` does and returns its id. `policy`: milliseconds, bounds unchecked."""
        body = {"input": job_input, "policy": policy, "webhook": webhook, "s3Config": s3_config}
        return self._on_loop(lambda: self._clients.accept(body).id)

    def status(self, job_id: str) -> JsonObject:
        """What `/status` says of a job."""
        return self._on_loop(lambda: self._find(job_id).describe())

    def retry(self, job_id: str) -> JsonObject:
        """Queues a failed or timed-out job again under its id; the answer of `/status`."""
        self._on_loop(lambda: self._dispatcher.retry(self._find(job_id)))
        return self.status(job_id)

    def cancel(self, job_id: str) -> JsonObject:
        """Cancels a job as `/cancel` does and returns its status."""
        self._on_loop(lambda: self._dispatcher.cancel(self._find(job_id)))
        return self.status(job_id)

    def wait(
        self, job_id: str, timeout: float = 30.0, *, until: Callable[[JsonObject], Any] | None = None
    ) -> JsonObject:
        """Blocks until a job is over, or until its status satisfies `until`, and returns that status."""
        reached = until or (lambda status: status["status"] in FINAL)

        def look() -> JsonObject | None:
            status = self._find(job_id).describe()
            return status if reached(status) else None

        try:
            return self.wait_until(look, timeout)
        except TimeoutError:
            raise TimeoutError(f"After {timeout} s the job is still {self.status(job_id)}.") from None

    def wait_until(self, look: Callable[[], T | None], timeout: float = 30.0) -> T:
        """Blocks until `look` gives a true answer and returns it; asks at every request and change.

        `look` runs on the emulator's own thread: it must not wait for anything.
        """
        waiting = self._dispatcher.bell.until(look, timeout)
        answer = asyncio.run_coroutine_threadsafe(waiting, self._loop).result()
        if not answer:
            raise TimeoutError(f"What was waited for did not happen within {timeout} s.")
        return answer

    def _on_loop(self, work: Callable[[], T]) -> T:
        if threading.current_thread() is self._thread:
            return work()

        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _find(self, job_id: str) -> Job:
        job = self._endpoint.find(job_id)
        if job is None:
            raise LookupError(f"There is no job {job_id}, or not any more.")
        return job

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._record_and_route])
        app.add_routes(self._workers.routes())
        app.add_routes(self._clients.routes())

        async def close(_: web.Application) -> None:
            await self._dispatcher.close()

        app.on_shutdown.append(close)
        return app

    @web.middleware
    async def _record_and_route(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        self.requests.append(
            Request(request.method, request.path, dict(request.query), authorization, time.monotonic())
        )
        self._dispatcher.bell.ring()
        if request.match_info.get("endpoint") != self.endpoint_id:
            raise web.HTTPNotFound
        return await handler(request)
