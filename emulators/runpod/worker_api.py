"""The job API that RunPod's worker SDK speaks: take, done, stream, stop, ping.

The worker's key is recorded, not checked: an `api_key` in `~/.runpod/config.toml` replaces the one from the
environment (http_client.py, `get_auth_header`), and a refused worker would spin without any pause.
"""

import asyncio
import json
from typing import Any

from aiohttp import web

from emulators.runpod.dispatcher import Dispatcher, Receipt
from emulators.runpod.endpoint import Connection
from emulators.runpod.jobs import JsonObject
from emulators.runpod.records import Ping

RESULT_LIMIT = 20 * 1024 * 1024
TAKE_FAULTS = {"no_jobs_429": 429, "flashboot_400": 400, "take_500": 500}


class HungUp:
    """The connection of a request whose sender is already gone."""

    def is_closing(self) -> bool:
        """Always."""
        return True


class WorkerApi:
    """The routes below `/v2/{endpoint}/` that workers use. `pings` lists the heartbeats."""

    def __init__(
        self, dispatcher: Dispatcher, *, poll_seconds: float, slow_take_seconds: float, slow_progress_seconds: float
    ) -> None:
        self.pings: list[Ping] = []
        self._dispatcher = dispatcher
        self._faults = dispatcher.faults
        self._poll_seconds = poll_seconds
        self._slow_take_seconds = slow_take_seconds
        self._slow_progress_seconds = slow_progress_seconds

    def routes(self) -> list[web.RouteDef]:
        """The routes and what answers them."""
        return [
            web.get("/v2/{endpoint}/job-take/{worker}", self.take_one),
            web.get("/v2/{endpoint}/job-take-batch/{worker}", self.take_batch),
            web.get("/v2/{endpoint}/job-stop/{worker}", self.stop),
            web.get("/v2/{endpoint}/ping/{worker}", self.ping),
            web.post("/v2/{endpoint}/job-done/{worker}/{job}", self.done),
            web.post("/v2/{endpoint}/job-stream/{worker}/{job}", self.stream),
        ]

    async def take_one(self, request: web.Request) -> web.Response:
        """Long poll for a job: 200 with an object, 204 when none came."""
        jobs = await self._take(request, 1)
        return web.json_response(jobs[0]) if jobs else web.Response(status=204)

    async def take_batch(self, request: web.Request) -> web.Response:
        """Long poll for up to `batch_size` jobs: 200 with a list once there is one, 204 when none came."""
        jobs = await self._take(request, int(request.query.get("batch_size", "1")))
        return web.json_response(jobs) if jobs else web.Response(status=204)

    async def stop(self, request: web.Request) -> web.Response:
        """Long poll for jobs to stop: cancelled ones and those that ran out of time."""
        connection = self._hear(request)
        stops = await self._dispatcher.stops(request.match_info["worker"], connection, self._poll_seconds)
        return web.json_response({"jobsToStop": stops}) if stops else web.Response(status=204)

    async def ping(self, request: web.Request) -> web.Response:
        """A heartbeat, or the report of a failed fitness check."""
        self._hear(request)
        query = request.query
        ping = Ping(
            worker_id=request.match_info["worker"],
            job_ids=tuple(filter(None, query.get("job_id", "").split(","))),
            healthy=query.get("status") != "unhealthy",
            check=query.get("check", ""),
            reason=query.get("reason", ""),
            sdk_version=query.get("runpod_version", ""),
            at=self._dispatcher.now(),
        )
        self.pings.append(ping)
        self._dispatcher.endpoint.worker(ping.worker_id).unhealthy = not ping.healthy
        self._dispatcher.bell.ring()
        return web.json_response({})

    async def done(self, request: web.Request) -> web.Response:
        """A result or progress. A body over 20 MB is refused and so lost: after a 400 the SDK gives up."""
        self._hear(request)
        raw = await request.read()
        body = _json_object(raw)
        is_result = body.get("status") != "IN_PROGRESS"
        if len(raw) > RESULT_LIMIT or (is_result and self._refuses_result()):
            raise web.HTTPBadRequest(text="Bad Request")
        if not is_result:
            await self._struggle_with_progress()
        if is_result and self._faults.strikes("lose_result_once"):
            raise web.HTTPInternalServerError
        if is_result and self._faults.strikes("cut_result_once"):
            raise _hang_up(request)
        return _answer(self._dispatcher.report(request.match_info["worker"], request.match_info["job"], body))

    async def stream(self, request: web.Request) -> web.Response:
        """One chunk of a generator's output, `{"output": …}`."""
        self._hear(request)
        chunk = _json_object(await request.read())
        await self._struggle_with_progress()
        return _answer(self._dispatcher.stream(request.match_info["worker"], request.match_info["job"], chunk))

    async def _take(self, request: web.Request, wanted: int) -> list[JsonObject]:
        connection = self._hear(request)
        for name, status in TAKE_FAULTS.items():
            if self._faults.strikes(name):
                raise _refusal(status)
        jobs = await self._dispatcher.take(request.match_info["worker"], wanted, connection, self._poll_seconds)
        if jobs and self._faults.strikes("slow_take"):
            await asyncio.sleep(self._slow_take_seconds)
        return [job.for_worker() for job in jobs]

    def _refuses_result(self) -> bool:
        return self._faults.strikes("refuse_result") or self._faults.strikes("refuse_result_once")

    async def _struggle_with_progress(self) -> None:
        if self._faults.strikes("refuse_progress"):
            raise web.HTTPInternalServerError
        if self._faults.strikes("slow_progress"):
            await asyncio.sleep(self._slow_progress_seconds)

    def _hear(self, request: web.Request) -> Connection:
        connection = request.transport or HungUp()
        self._dispatcher.endpoint.worker(request.match_info["worker"]).speaks_over(connection)
        return connection


def _json_object(raw: bytes) -> JsonObject:
    """The SDK posts JSON text, whatever the content type says."""
    try:
        body: Any = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="The body is not a JSON object.")
    return body


def _answer(receipt: Receipt) -> web.Response:
    """404 for a forgotten job (runpod-python#56); 200 for a late report, or the SDK would send it again."""
    return web.json_response({}, status=404 if receipt is Receipt.UNKNOWN else 200)


def _hang_up(request: web.Request) -> web.HTTPException:
    """Cuts the connection; the answer that is returned for the server's sake reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.HTTPServiceUnavailable()


def _refusal(status: int) -> web.HTTPException:
    refusals: dict[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        429: web.HTTPTooManyRequests,
        500: web.HTTPInternalServerError,
    }
    return refusals[status]()
