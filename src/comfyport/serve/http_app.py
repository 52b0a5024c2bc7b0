"""The HTTP face, the same on every cloud: RunPod's routes, so that RunPod's own client library works against it."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from comfyport import __version__
from comfyport.errors import ComfyportError, InvalidJob, JobUnknown, QueueFull, Unauthorized
from comfyport.serve.queue import Queue
from comfyport.settings import Secret

# RunPod's default for /runsync; its own limits for `?wait=` are 1 s and 5 min.
WAIT_MILLISECONDS = 90_000
STATUS_CODES: dict[type[ComfyportError], int] = {
    InvalidJob: 400,
    Unauthorized: 401,
    JobUnknown: 404,
    QueueFull: 429,
}


@dataclass(frozen=True)
class WorkerStatus:
    """Whether jobs can be worked on now, and the status board by section."""

    ready: bool
    board: dict[str, Any]


Status = Callable[[], Awaitable[WorkerStatus]]


class JobRequest(BaseModel):
    """What `/run` and `/runsync` take."""

    model_config = ConfigDict(extra="allow")

    input: Any = Field(description="The job: `workflow` in API format, `images`, `timeout`.")


def build(queue: Queue, *, status: Status, api_key: Secret) -> FastAPI:
    """The application. `status` tells of the worker behind `queue`; an empty `api_key` leaves all routes open."""
    app = FastAPI(title="comfyport", version=__version__, summary="ComfyUI as an API.")
    guarded = [Depends(_key_guard(api_key))]
    router = _jobs(queue)
    app.include_router(router, dependencies=guarded)
    app.include_router(router, prefix="/v2/{endpoint_id}", dependencies=guarded, include_in_schema=False)
    health = _health(queue, status)
    app.include_router(health)
    app.include_router(health, prefix="/v2/{endpoint_id}", include_in_schema=False)
    app.add_exception_handler(ComfyportError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return app


def _jobs(queue: Queue) -> APIRouter:
    router = APIRouter(tags=["jobs"])

    @router.post("/run")
    async def run(job: JobRequest) -> dict[str, Any]:
        """Queue a job; its id and status at once."""
        return (await queue.submit(job.input)).as_json()

    @router.post("/runsync")
    async def runsync(
        job: JobRequest,
        wait: Annotated[int, Query(ge=0, le=300_000, description="Milliseconds.")] = WAIT_MILLISECONDS,
    ) -> dict[str, Any]:
        """Queue a job and wait for its answer; after `wait` its status, to be asked for with `/status`."""
        queued = await queue.submit(job.input)
        return (await queue.wait(queued.id, wait / 1000)).as_json()

    @router.api_route("/status/{job_id}", methods=["GET", "POST"])
    async def status(job_id: str) -> dict[str, Any]:
        """What became of a job."""
        return (await queue.find(job_id)).as_json()

    @router.post("/cancel/{job_id}")
    async def cancel(job_id: str) -> dict[str, Any]:
        """End a job that waits or runs."""
        return (await queue.cancel(job_id)).as_json()

    return router


def _health(queue: Queue, status: Status) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health")
    async def health() -> dict[str, Any]:
        """Jobs by state, and the status board: models and ComfyUI."""
        worker = await status()
        workers = {"ready": int(worker.ready), "initializing": int(not worker.ready)}
        return {"jobs": await queue.counts(), "workers": workers, "status": worker.board}

    @router.get("/ping", responses={204: {"description": "Starting."}})
    async def ping() -> Response:
        """200 when ComfyUI is ready, 204 while it starts (RunPod's rule for load-balancing endpoints)."""
        return Response(status_code=200 if (await status()).ready else 204)

    return router


def _key_guard(api_key: Secret) -> Callable[[Request], Awaitable[None]]:
    async def guard(request: Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if api_key and not secrets.compare_digest(given.encode(), api_key.reveal().encode()):
            raise Unauthorized

    return guard


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ComfyportError)  # noqa: S101 - registered for this class
    headers = {"Retry-After": "5"} if isinstance(error, QueueFull) else None
    return JSONResponse(error.as_answer(), STATUS_CODES.get(type(error), 500), headers)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    invalid = InvalidJob(
        f'The request must be JSON such as {{"input": {{"workflow": {{…}}}}}}: {problem["msg"]} ({place})'
    )
    return await _answer_error(request, invalid)
