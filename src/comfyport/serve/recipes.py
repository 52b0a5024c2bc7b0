"""The recipes' own routes: parameters in, the recipe's answer out, each with its form in `/docs`."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from comfyport.errors import JobCancelled, JobError, ResultDropped
from comfyport.recipes.book import Recipes
from comfyport.recipes.recipe import Recipe
from comfyport.serve import reading, schema
from comfyport.serve.answers import Answer, encoded
from comfyport.serve.job import Job
from comfyport.serve.queue import Queue
from comfyport.serve.schema import Key, refusals
from comfyport.settings import Settings

# A dozen views take minutes, and whoever asks a recipe need not know what a job is.
WAIT_MILLISECONDS = 300_000
LONGEST_WAIT_MILLISECONDS = 3_600_000
# What the request is to blame for, and what another moment may be better for; 500 for the rest.
STATUS_CODES = {
    "invalid_job": 400,
    "invalid_parameters": 400,
    "input_failed": 400,
    "recipe_unknown": 404,
    "job_cancelled": 409,
    "model_not_ready": 503,
    "worker_stopped": 503,
    "job_timed_out": 504,
    "policy_exceeded": 504,
}

Wait = Annotated[
    int, Query(ge=0, le=LONGEST_WAIT_MILLISECONDS, description="Milliseconds, after which the job's id is answered.")
]


def build(recipes: Recipes, queue: Queue, settings: Settings) -> APIRouter:
    """`/recipes`, which lists them, and a route or more for each."""
    router = APIRouter(tags=["recipes"], responses=refusals(s401="The key is missing or wrong."))

    @router.get("/recipes", responses={200: {"model": schema.RecipeList}})
    async def listed() -> Response:
        """What recipes there are, and what each takes and answers, as JSON Schema."""
        return Answer({"recipes": [_shown(recipe) for recipe in recipes]})

    for recipe in recipes:
        for route in recipe.routes:
            _add(router, route, recipe, queue, settings.body_bytes)
    return router


def _add(router: APIRouter, route: str, recipe: Recipe, queue: Queue, limit: int) -> None:
    async def serve(request: Request, key: Key = "", wait: Wait = WAIT_MILLISECONDS) -> Response:
        sent = await reading.parameters(request, recipe, key=key, limit=limit)
        job = await queue.submit(sent)
        return await _answer(await _waited(request, queue, job, wait / 1000))

    router.add_api_route(
        route,
        serve,
        methods=["POST"],
        name=f"{recipe.name} {route}",
        summary=recipe.declared.title,
        description=_described(recipe),
        openapi_extra={"requestBody": schema.body_of(recipe.request)},
        responses={
            200: {"model": recipe.answer},
            202: {"model": schema.JobState, "description": "It takes longer than `wait`: ask `/status/{id}`."},
            **refusals(
                s400="The parameters are not right, or a picture is not.",
                s409="The job was cancelled.",
                s413="The body is larger than BODY_BYTES.",
                s422="The Idempotency-Key belongs to another job.",
                s429="The queue is full: come back after `Retry-After` seconds.",
                s500="The workflow failed.",
                s503="The worker is being stopped, or a model could not be downloaded.",
                s504="It took longer than it may.",
            ),
        },
    )


def _described(recipe: Recipe) -> str:
    models = f"\n\nModels: {', '.join(recipe.declared.models)} (`MODEL_GROUPS`)." if recipe.declared.models else ""
    hanging_up = "\n\nWhoever hangs up cancels it, unless an `Idempotency-Key` says that it will be asked for again."
    return f"{recipe.declared.description}{models}{hanging_up}"


def _shown(recipe: Recipe) -> dict[str, Any]:
    declared = recipe.declared
    return {
        "name": recipe.name,
        "title": declared.title,
        "description": declared.description,
        "routes": recipe.routes,
        "models": declared.models,
        "parameters": recipe.request.model_json_schema(),
        "answer": recipe.answer.model_json_schema(),
    }


async def _waited(request: Request, queue: Queue, job: Job, seconds: float) -> Job:
    """The job when it has ended, or as it is after so long or when the client hangs up; that cancels it.

    One with an idempotency key goes on: its client has said that it will ask again.
    """
    waiting = asyncio.create_task(queue.wait(job.id, seconds))
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        return job if request.headers.get("Idempotency-Key") else await queue.cancel(job.id)
    finally:
        for task in (waiting, leaving):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def _gone(request: Request) -> None:
    """Returns when the client has hung up; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _answer(job: Job) -> Response:
    """What became of the job, as its recipe answers it. Raises ResultDropped."""
    if job.dropped:
        raise ResultDropped(job.id, job.status)
    headers = {"X-Job-Id": job.id}
    if not job.ended:
        return Answer(await encoded(job.as_json()), 202, {**headers, "Location": f"/status/{job.id}"})
    answer = job.answer
    if job.status == "CANCELLED":
        answer = JobCancelled("The job was cancelled.").as_answer()
    elif answer is None:
        answer = JobError(f"The job ended as {job.status}.").as_answer()
    status = 200 if job.status == "COMPLETED" else STATUS_CODES.get(str(answer.get("error_code")), 500)
    return Answer(await encoded(answer), status, headers)
