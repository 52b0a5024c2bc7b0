"""What the status page shows beyond `/health`: the latest jobs, their pictures, the log, what nodes may be set to."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from comfyport.errors import NotOffered, ResultDropped
from comfyport.serve import schema
from comfyport.serve.answers import Answer
from comfyport.serve.job import Job
from comfyport.serve.logs import Recent
from comfyport.serve.queue import Queue
from comfyport.serve.schema import refusals
from comfyport.serve.thumbnails import picture_of, thumbnail

MOST_JOBS = 100
MOST_NODES = 500
THUMBNAILS_AT_ONCE = 2
# Lists of an answer that hold what a job made.
KINDS = ("images", "videos", "audio", "files", "text")

Choices = Callable[[Sequence[str]], Awaitable[dict[str, dict[str, list[str]]]]]
Nodes = Annotated[list[str], Query(max_length=MOST_NODES, description="Class names, such as `KSampler`.")]
Limit = Annotated[int, Query(ge=1, le=MOST_JOBS, description="How many jobs.")]
After = Annotated[int, Query(ge=0, description="The number of the last line that was seen.")]


@dataclass(frozen=True)
class Sources:
    """Where the page's answers come from beside the queue; what is None is not offered.

    `choices` tells by node type and input what ComfyUI lists to choose from.
    """

    log: Recent | None = None
    choices: Choices | None = None


NOTHING = Sources()


def router(queue: Queue, sources: Sources) -> APIRouter:
    """The routes."""
    routes = APIRouter(
        tags=["overview"],
        responses=refusals(s401="The key is missing or wrong.", s501="This endpoint does not keep that."),
    )
    turn = asyncio.Semaphore(THUMBNAILS_AT_ONCE)

    @routes.get("/jobs", responses={200: {"model": schema.LatestJobs}})
    async def jobs(limit: Limit = 20) -> Response:
        """The latest jobs that are still kept, newest first. Neither what was sent nor the results are shown."""
        return Answer({"jobs": [summary(job) for job in await queue.latest(limit)]})

    @routes.get(
        "/jobs/{job_id}/thumbnail",
        responses={
            200: {"content": {"image/webp": {}}},
            **refusals(s404="No such job, or no picture in its answer.", s410="The result was dropped."),
        },
        response_class=Response,
    )
    async def small_picture(job_id: str) -> Response:
        """The first picture of a job's answer, at most 320 x 320."""
        job = await queue.find(job_id)
        if job.dropped:
            raise ResultDropped(job.id, job.status)
        async with turn:
            content = await asyncio.to_thread(thumbnail, job)
        return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=600"})

    @routes.get("/logs", responses={200: {"model": schema.LogLines}})
    async def lines(after: After = 0) -> Response:
        """The last lines of this container's log, ComfyUI's among them. Known secrets are blotted out; prompts that a
        custom node prints are not."""
        if sources.log is None:
            raise NotOffered("its log; the platform has it")
        return Answer({"lines": [{"number": line.number, "text": line.text} for line in sources.log.after(after)]})

    @routes.get("/choices", responses={200: {"model": dict[str, dict[str, list[str]]]}})
    async def choices(node: Nodes) -> Response:
        """By node type and input what ComfyUI lists to choose from now: samplers, models, …"""
        if sources.choices is None:
            raise NotOffered("what a node may be set to; only a GPU container knows")
        return Answer(await sources.choices(node))

    return routes


def summary(job: Job) -> dict[str, Any]:
    """A job without what was sent and without its result: `outputs` counts what is in that."""
    shown = {key: value for key, value in job.as_json().items() if key != "output"}
    shown["queuedAt"] = datetime.fromtimestamp(job.queued_at, UTC).isoformat(timespec="milliseconds")
    if job.status == "IN_PROGRESS" and job.events and job.events.progress:
        shown["progress"] = job.events.progress.as_json()
    answer = job.answer or {}
    shown["outputs"] = dict(Counter(_kind(kind, item) for kind in KINDS for item in answer.get(kind) or ()))
    shown["thumbnail"] = picture_of(job.answer) is not None
    if "error_code" in answer:
        shown["errorCode"] = answer["error_code"]
    return shown


def _kind(listed: str, item: dict[str, Any]) -> str:
    """What it is: ComfyUI lists its own videos under `images`."""
    return "videos" if listed == "images" and str(item.get("media_type")).startswith("video/") else listed
