"""The HTTP face, the same on every cloud: RunPod's routes, so that RunPod's own client library works against it."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer

from comfyport import __version__
from comfyport.environment import Secret
from comfyport.errors import ResultDropped, Unauthorized
from comfyport.recipes.book import Recipes
from comfyport.serve import overview, reading, recipes, schema, status_page, stream
from comfyport.serve.answers import Answer, answer_errors, encoded
from comfyport.serve.job import Job
from comfyport.serve.overview import NOTHING, Sources
from comfyport.serve.queue import Queue
from comfyport.serve.schema import Key, refusals
from comfyport.settings import Settings

# RunPod's default for /runsync; its longest `?wait=` is 5 min.
WAIT_MILLISECONDS = 90_000
LONGEST_WAIT_MILLISECONDS = 300_000

DESCRIPTION = """Send a ComfyUI workflow, get its pictures, videos and sounds.

The routes are those of RunPod's serverless endpoints, here and below `/v2/{endpoint_id}/`, so its client library works
too. `POST /runsync` waits for the result; `POST /run` answers at once, and `/status/{id}` or `/stream/{id}` tell the
rest."""


@dataclass(frozen=True)
class WorkerStatus:
    """Whether a job would be taken now, the status board by section, and how many workers there are."""

    ready: bool
    board: dict[str, Any]
    workers: int = 1


class Scraped(Protocol):
    """What Prometheus is shown."""

    async def exposed(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that suits an `Accept` header, and that format's content type."""


Status = Callable[[], Awaitable[WorkerStatus]]
Wait = Annotated[int, Query(ge=0, le=LONGEST_WAIT_MILLISECONDS, description="Milliseconds.")]
STATE: dict[int | str, dict[str, Any]] = {200: {"model": schema.JobState}}


def build(
    queue: Queue,
    *,
    status: Status,
    settings: Settings,
    offered: Recipes,
    metrics: Scraped,
    sources: Sources = NOTHING,
) -> FastAPI:
    """The application; the recipes that are `offered` have routes of their own.

    `status` tells of the workers behind `queue`; `sources` is what the status page asks for beside jobs.
    """
    app = FastAPI(title="comfyport", version=__version__, summary="ComfyUI as an API.", description=DESCRIPTION)
    guarded = [Depends(_key_guard(settings.api_key))]
    health = _health(queue, status)
    routers = [_sending(queue, settings), recipes.build(offered, queue, settings), _jobs(queue), _metrics(metrics)]
    if settings.status_page:
        app.include_router(status_page.router())
        routers.append(overview.router(queue, sources))
    for prefix, shown in (("", True), ("/v2/{endpoint_id}", False)):
        for router in routers:
            app.include_router(router, prefix=prefix, dependencies=guarded, include_in_schema=shown)
        app.include_router(health, prefix=prefix, include_in_schema=shown)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"),
            expose_headers=("Retry-After", "X-Job-Id"),
        )
    answer_errors(app)
    schema.describe(app, (schema.JobRequest, *(recipe.request for recipe in offered)))
    return app


def _sending(queue: Queue, settings: Settings) -> APIRouter:
    router = APIRouter(
        tags=["jobs"],
        responses=refusals(
            s400="No job: the message says what is wrong.",
            s401="The key is missing or wrong.",
            s413="The body is larger than BODY_BYTES.",
            s422="The Idempotency-Key belongs to another job.",
            s429="The queue is full: come back after `Retry-After` seconds.",
            s503="The worker is being stopped.",
        ),
    )

    async def submitted(request: Request, key: str) -> Job:
        sent = await reading.submission(
            request, key=key, limit=settings.body_bytes, private=settings.allow_private_urls
        )
        return await queue.submit(sent)

    described: Any = {"openapi_extra": {"requestBody": schema.body_of(schema.JobRequest)}, "responses": STATE}

    @router.post("/run", **described)
    async def run(request: Request, key: Key = "") -> Response:
        """Queue a job; its id and status at once."""
        return await _state(await submitted(request, key))

    @router.post("/runsync", **described)
    async def runsync(request: Request, key: Key = "", wait: Wait = WAIT_MILLISECONDS) -> Response:
        """Queue a job and wait for its answer; after `wait` its status, to be asked for with `/status`."""
        job = await submitted(request, key)
        return await _state(await queue.wait(job.id, wait / 1000))

    return router


def _jobs(queue: Queue) -> APIRouter:
    router = APIRouter(
        tags=["jobs"], responses=refusals(s401="The key is missing or wrong.", s404="No such job, or no more.")
    )
    gone = refusals(s410="The result was dropped to make room for newer ones.")

    @router.get("/status/{job_id}", responses=STATE | gone)
    @router.post("/status/{job_id}", include_in_schema=False)
    async def status(job_id: str) -> Response:
        """What became of a job; of one that runs, its latest progress."""
        return await _state(await queue.find(job_id))

    @router.get(
        "/stream/{job_id}",
        responses={
            200: {"model": schema.Pieces, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            204: {"description": "Everything up to the result has been sent before `Last-Event-ID`."},
        },
    )
    @router.post("/stream/{job_id}", include_in_schema=False)
    async def follow(
        job_id: str,
        accept: Annotated[str, Header(description="`text/event-stream` for server-sent events.")] = "",
        last_event_id: Annotated[str, Header(description="Go on after this event.")] = "",
    ) -> Response:
        """What a job tells: server-sent events to its end, or what is new since the last call."""
        job = await queue.find(job_id)
        if "text/event-stream" in accept:
            return stream.server_sent(job, last_event_id)
        return Answer(stream.pieces(job, await queue.unread(job)))

    @router.post("/cancel/{job_id}", responses=STATE)
    async def cancel(job_id: str) -> Response:
        """End a job that waits or runs; one that is over stays as it is."""
        return await _state(await queue.cancel(job_id), result=False)

    @router.post(
        "/retry/{job_id}",
        responses=STATE
        | gone
        | refusals(s409="It neither failed nor timed out.", s501="What it was sent with was not kept (on Modal)."),
    )
    async def retry(job_id: str) -> Response:
        """Queue a job that failed or timed out once more, under the same id."""
        return await _state(await queue.retry(job_id))

    @router.post("/purge-queue", responses={200: {"model": schema.Purged}})
    async def purge_queue() -> Response:
        """Cancel every job that waits; the running one goes on."""
        return Answer({"removed": await queue.purge(), "status": "completed"})

    return router


def _metrics(metrics: Scraped) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/metrics", responses={200: {"content": {"text/plain": {}}}, **refusals(s401="The key is missing.")})
    async def expose(accept: Annotated[str, Header()] = "") -> Response:
        """For Prometheus."""
        content, content_type = await metrics.exposed(accept)
        return Response(content, headers={"Content-Type": content_type})

    return router


def _health(queue: Queue, status: Status) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health", responses={200: {"model": schema.Health}})
    @router.head("/health", include_in_schema=False)
    async def health() -> Response:
        """Jobs by state, and the status board: models and ComfyUI."""
        worker, jobs = await status(), await queue.counts()
        running = jobs.get("inProgress", 0)
        workers = {
            "idle": max(0, worker.workers - running) if worker.ready else 0,
            "initializing": 0 if worker.ready else worker.workers,
            "ready": worker.workers if worker.ready else 0,
            "running": running,
            "throttled": 0,
            "unhealthy": 0,
        }
        return Answer({"jobs": jobs, "workers": workers, "status": worker.board})

    @router.get("/ping", response_class=Response, responses={204: {"description": "Starting."}})
    @router.head("/ping", include_in_schema=False)
    async def ping() -> Response:
        """200 when jobs are taken, 204 while the worker starts (RunPod's rule for load-balancing endpoints)."""
        return Response(status_code=200 if (await status()).ready else 204)

    return router


async def _state(job: Job, *, result: bool = True) -> Answer:
    """The job as an answer. Raises ResultDropped where its `result` is asked for and no longer there."""
    if job.dropped and result:
        raise ResultDropped(job.id, job.status)
    shown = job.as_json()
    return Answer(await encoded(shown if result else {"id": shown["id"], "status": shown["status"]}))


def _key_guard(api_key: Secret) -> Callable[..., Awaitable[None]]:
    # Only for `/docs`: the header is read below, where RunPod's examples may send the bare key.
    documented = Security(HTTPBearer(auto_error=False, description="COMFYPORT_API_KEY"))

    async def guard(request: Request, _: Any = documented) -> None:
        scheme, _space, rest = request.headers.get("Authorization", "").strip().partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else scheme
        if api_key and not secrets.compare_digest(given.encode(), api_key.reveal().encode()):
            raise Unauthorized

    return guard
