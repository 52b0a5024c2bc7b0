"""The API that clients speak: run, runsync, status, stream, cancel, retry, purge-queue and health.

Forms follow RunPod's "Operation reference" page; the package's docstring names what the page leaves open.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from emulators.runpod.dispatcher import Dispatcher
from emulators.runpod.jobs import Job, JsonObject, Policy, Status

MIB = 1024 * 1024
RUN_LIMIT = 10 * MIB
RUNSYNC_LIMIT = 20 * MIB
DEFAULT_WAIT, SHORTEST_WAIT, LONGEST_WAIT = 90.0, 1.0, 300.0
WEEK = 7 * 24 * 3_600_000
POLICY_BOUNDS = {"executionTimeout": (5_000, WEEK), "ttl": (10_000, WEEK)}  # milliseconds
PASSED_ON = ("webhook", "s3Config")

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True)
class Terms:
    """What the endpoint grants every job: its policy, and for how many seconds results are kept."""

    policy: Policy
    run_results_seconds: float
    runsync_results_seconds: float


class ClientApi:
    """The routes that clients use; all of them ask for the key."""

    def __init__(self, dispatcher: Dispatcher, *, api_key: str, terms: Terms) -> None:
        self._dispatcher = dispatcher
        self._api_key = api_key
        self._terms = terms

    def routes(self) -> list[web.RouteDef]:
        """The routes and what answers them."""
        return [
            web.post("/v2/{endpoint}/run", self._guarded(self.run)),
            web.post("/v2/{endpoint}/runsync", self._guarded(self.runsync)),
            web.get("/v2/{endpoint}/status/{job}", self._guarded(self.status)),
            web.post("/v2/{endpoint}/status/{job}", self._guarded(self.status)),
            web.get("/v2/{endpoint}/stream/{job}", self._guarded(self.stream)),
            web.post("/v2/{endpoint}/cancel/{job}", self._guarded(self.cancel)),
            web.post("/v2/{endpoint}/retry/{job}", self._guarded(self.retry)),
            web.post("/v2/{endpoint}/purge-queue", self._guarded(self.purge_queue)),
            web.get("/v2/{endpoint}/health", self._guarded(self.health)),
        ]

    def accept(self, body: JsonObject, *, sync: bool = False) -> Job:
        """Queues the job that a request body describes."""
        number = f"{uuid.uuid4()}-u1"
        job = Job(
            id=f"sync-{number}" if sync else number,
            input=body["input"],
            submitted=self._dispatcher.now(),
            policy=self._terms.policy.changed_by(body.get("policy") or {}),
            kept_seconds=self._terms.runsync_results_seconds if sync else self._terms.run_results_seconds,
            passed_on={key: body[key] for key in PASSED_ON if body.get(key)},
        )
        self._dispatcher.submit(job)
        return job

    async def run(self, request: web.Request) -> web.Response:
        """Queues a job and answers at once."""
        job = self.accept(await _request_body(request, RUN_LIMIT))
        return web.json_response({"id": job.id, "status": job.status})

    async def runsync(self, request: web.Request) -> web.Response:
        """Queues a job and waits for its end, at most `?wait=` milliseconds; then the client has to poll."""
        wait = _wait_seconds(request)
        job = self.accept(await _request_body(request, RUNSYNC_LIMIT), sync=True)
        await self._dispatcher.finished(job, wait)
        return web.json_response(job.describe())

    async def status(self, request: web.Request) -> web.Response:
        """State, times and result of a job."""
        return web.json_response(self._find(request).describe())

    async def stream(self, request: web.Request) -> web.Response:
        """The chunks streamed since the last call."""
        job = self._find(request)
        return web.json_response({"status": job.status, "stream": job.unread_chunks()})

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancels a job; one that is over keeps its state."""
        job = self._find(request)
        self._dispatcher.cancel(job)
        return web.json_response({"id": job.id, "status": job.status})

    async def retry(self, request: web.Request) -> web.Response:
        """Queues a failed or timed-out job again."""
        job = self._find(request)
        if job.status not in (Status.FAILED, Status.TIMED_OUT):
            raise _error(web.HTTPBadRequest, f"a job that is {job.status} cannot be retried")
        self._dispatcher.retry(job)
        return web.json_response({"id": job.id, "status": job.status})

    async def purge_queue(self, request: web.Request) -> web.Response:
        """Empties the queue; running jobs go on."""
        return web.json_response({"removed": self._dispatcher.purge(), "status": "completed"})

    async def health(self, request: web.Request) -> web.Response:
        """Counts of jobs and workers."""
        return web.json_response(self._dispatcher.endpoint.health())

    def _guarded(self, handler: Handler) -> Handler:
        async def check_key(request: web.Request) -> web.Response:
            sent = request.headers.get("Authorization", "")
            # The documentation's curl examples send the bare key.
            if sent.removeprefix("Bearer ") != self._api_key:
                raise web.HTTPUnauthorized
            return await handler(request)

        return check_key

    def _find(self, request: web.Request) -> Job:
        job = self._dispatcher.endpoint.find(request.match_info["job"])
        if job is None:
            raise _error(web.HTTPNotFound, "job not found")
        return job


async def _request_body(request: web.Request, limit: int) -> JsonObject:
    raw = await request.read()
    if len(raw) > limit:
        raise _error(web.HTTPBadRequest, f"exceeded max body size of {limit // MIB}MiB")
    try:
        body: Any = json.loads(raw)
    except ValueError:
        raise _error(web.HTTPBadRequest, "the body is not JSON") from None
    if not isinstance(body, dict) or body.get("input") is None:
        raise _error(web.HTTPBadRequest, "the body has no input")
    _check_policy(body.get("policy") or {})
    return body


def _check_policy(policy: Any) -> None:
    if not isinstance(policy, dict):
        raise _error(web.HTTPBadRequest, "policy is not an object")
    for name, (least, most) in POLICY_BOUNDS.items():
        wish = policy.get(name, least)
        if not isinstance(wish, int | float) or not least <= wish <= most:
            raise _error(web.HTTPBadRequest, f"{name} must be from {least} to {most} ms")


def _wait_seconds(request: web.Request) -> float:
    wait = request.query.get("wait")
    if wait is None:
        return DEFAULT_WAIT
    if not wait.isdecimal():
        raise _error(web.HTTPBadRequest, "wait must be a number of milliseconds")
    return min(max(int(wait) / 1000, SHORTEST_WAIT), LONGEST_WAIT)


def _error(kind: type[web.HTTPException], message: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": message}), content_type="application/json")
