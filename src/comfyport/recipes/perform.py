"""Performs a job that names a recipe, as ordinary jobs one after the other; every other job as it is.

`{"input": {"recipe": "multi-view", "parameters": {"image": "…", "perspectives": […]}, "timeout": 600}}`
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfyport.errors import ComfyportError, InvalidJob, JobTimedOut, RecipeFailed
from comfyport.jobs.events import Observer, unobserved
from comfyport.jobs.perform import Performer
from comfyport.jobs.request import given_input, parse
from comfyport.recipes import answers, fetching, runs
from comfyport.recipes.answers import Outcome
from comfyport.recipes.book import Recipes
from comfyport.recipes.progress import numbered
from comfyport.recipes.recipe import Recipe
from comfyport.recipes.runs import Run

logger = logging.getLogger(__name__)

# What a job with a recipe may have besides; the rest of a job is the recipe's affair.
KEPT = ("output", "previews", "timeout", "comfy_org_api_key", "s3Config")
REPLACED = ("workflow", "images", "files", "set")


@dataclass(frozen=True)
class RecipePerformer:
    """Performs the jobs of one worker, recipes and workflows."""

    recipes: Recipes
    performer: Performer

    async def perform(self, job: Any, observe: Observer = unobserved) -> dict[str, Any]:
        """The answer to a job that went well. Raises ComfyportError for one that did not.

        Of a recipe that runs several times, what went well is answered beside what did not. If nothing did, it raises
        the reason, or RecipeFailed if there are several. `timeout` holds for all runs together. Cancelling this takes
        what runs out of ComfyUI.
        """
        given = given_input(job)
        if given.get("recipe") is None:
            return await self.performer.perform(job, observe)
        recipe = self._recipe(given)
        values = recipe.read({} if given.get("parameters") is None else given["parameters"])
        serving = _Serving(recipe, self.performer, job, {name: given[name] for name in KEPT if name in given})
        return await serving.answer(runs.of(recipe, values), observe)

    def _recipe(self, given: Mapping[str, Any]) -> Recipe:
        name = given["recipe"]
        if not isinstance(name, str):
            raise InvalidJob("'recipe' must be the name of a recipe, such as \"text-to-image\"")
        if beside := [other for other in REPLACED if given.get(other) is not None]:
            raise InvalidJob(f"A job with a 'recipe' takes 'parameters' in place of {', '.join(beside)}")
        return self.recipes.named(name)


class _Serving:
    """One request for a recipe, being served; `kept` goes into each of its jobs."""

    def __init__(self, recipe: Recipe, performer: Performer, job: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        self._recipe = recipe
        self._performer = performer
        self._job = job
        self._kept = kept
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()

    async def answer(self, asked: list[Run], observe: Observer) -> dict[str, Any]:
        """Runs one after the other: there is one GPU, and the models stay loaded."""
        limit = parse(self._as_job(asked[0], 1, 1)).timeout or self._performer.timeout
        asked = await fetching.with_pictures(asked, self._performer.inputs)
        room = self._performer.deliverer.answer_limit - answers.echoed_bytes(self._recipe, asked[0])
        outcomes: list[Outcome] = []
        errors: list[ComfyportError] = []
        for number, run in enumerate(asked, 1):
            job = self._as_job(run, number, len(asked))
            try:
                told = await self._performed(job, numbered(observe, number, len(asked)), limit, room)
                outcome = answers.went_well(self._recipe, run, told)
            except ComfyportError as error:
                logger.warning("run failed run=%d of=%d code=%s error=%s", number, len(asked), error.code, error)
                outcome = answers.failed(self._recipe, run, error.as_answer())
                errors.append(error)
            room -= outcome.size
            outcomes.append(outcome)
        if len(errors) == len(asked):
            raise self._together(errors, outcomes)
        return answers.whole(self._recipe, asked, outcomes, self._clock() - self._began)

    async def _performed(self, job: dict[str, Any], observe: Observer, limit: float, room: float) -> dict[str, Any]:
        """The answer to one of the jobs, in what is left of the time and of the answer."""
        left = round(limit - (self._clock() - self._began), 3)
        if left <= 0:
            raise JobTimedOut(limit)
        job["input"]["timeout"] = left
        try:
            return await self._performer.perform(job, observe, room=room)
        except JobTimedOut:
            raise JobTimedOut(limit) from None

    def _together(self, errors: list[ComfyportError], outcomes: list[Outcome]) -> ComfyportError:
        """Why nothing went well: the one reason, if all failed of the same."""
        if len({(error.code, error.message) for error in errors}) == 1:
            return errors[0]
        return RecipeFailed(self._recipe.name, [dict(outcome.fields) for outcome in outcomes])

    def _as_job(self, run: Run, number: int, of: int) -> dict[str, Any]:
        """The ordinary job of a run. Where there are several, each has a folder of its own for what it delivers."""
        job_id = str(self._job.get("id") or "")
        pictures = [{"name": picture.name, "image": picture.content} for picture in run.pictures]
        work = {"workflow": self._recipe.workflow, "set": dict(run.settings), "images": pictures}
        return {
            **self._job,
            "id": f"{job_id}-{number}" if job_id and of > 1 else job_id,
            "input": {**self._kept, **work},
        }
