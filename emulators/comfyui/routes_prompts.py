"""The routes for prompts: /prompt, /queue, /history, /interrupt, /free."""

import itertools
import json
import logging
import uuid
from typing import Any

from aiohttp import web

from emulators.comfyui.execute import Worker
from emulators.comfyui.faults import Faults
from emulators.comfyui.folders import Folders
from emulators.comfyui.prompt_queue import PromptQueue, Queued
from emulators.comfyui.validate import problem, validate

logger = logging.getLogger(__name__)


class PromptRoutes:
    """Each method answers one route. `prompts` is what was posted, oldest first."""

    def __init__(self, queue: PromptQueue, worker: Worker, folders: Folders, faults: Faults) -> None:
        self.prompts: list[dict[str, Any]] = []
        self._queue = queue
        self._worker = worker
        self._folders = folders
        self._faults = faults
        self._numbers = itertools.count()

    def routes(self) -> list[web.RouteDef]:
        """What is to be routed."""
        return [
            web.get("/prompt", self.get_prompt),
            web.post("/prompt", self.post_prompt),
            web.get("/queue", self.get_queue),
            web.post("/queue", self.post_queue),
            web.get("/history", self.get_history),
            web.get("/history/{prompt_id}", self.get_history_of),
            web.post("/history", self.post_history),
            web.post("/interrupt", self.post_interrupt),
            web.post("/free", self.post_free),
        ]

    async def get_prompt(self, request: web.Request) -> web.Response:
        """How many prompts wait or run."""
        return web.json_response({"exec_info": {"queue_remaining": self._queue.remaining()}})

    async def post_prompt(self, request: web.Request) -> web.Response:
        """Checks a prompt and lines it up."""
        logger.info("got prompt")
        asked = await request.json()
        if self._faults.strikes("prompt_400_odd_body"):
            return web.Response(status=400, text="<html><h1>Bad Request</h1></html>", content_type="text/html")
        if self._faults.strikes("prompt_200_odd_body"):
            return web.Response(text="<html><h1>Please sign in</h1></html>", content_type="text/html")
        number = self._number(asked)
        if "prompt" not in asked:
            message = "No prompt provided"
            return _refusal(problem("no_prompt", message, message), {})
        self.prompts.append(asked)
        prompt, prompt_id = asked["prompt"], str(asked.get("prompt_id", uuid.uuid4()))
        verdict = validate(prompt, self._folders, asked.get("partial_execution_targets"))
        if verdict.error is not None:
            logger.warning("invalid prompt: %s", verdict.error)
            return _refusal(verdict.error, verdict.node_errors)
        extra_data = asked.get("extra_data", {})
        if "client_id" in asked:
            extra_data["client_id"] = asked["client_id"]
        self._queue.put(Queued(number, prompt_id, prompt, extra_data, verdict.outputs))
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    def _number(self, asked: dict[str, Any]) -> float:
        """The place in the queue: the client's, or the next, or before all others (`front`)."""
        if "number" in asked:
            return float(asked["number"])
        number = next(self._numbers)
        return -number if asked.get("front") else number

    async def get_queue(self, request: web.Request) -> web.Response:
        """The prompt that runs and those that wait."""
        running, waiting = self._queue.running(), self._queue.waiting()
        return web.json_response({"queue_running": running, "queue_pending": waiting})

    async def post_queue(self, request: web.Request) -> web.Response:
        """Takes waiting prompts out: `clear` all, or `delete` a list of ids."""
        asked = await request.json()
        if asked.get("clear"):
            self._queue.clear()
        for prompt_id in asked.get("delete", ()):
            self._queue.delete(prompt_id)
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        """The prompts that ran; `max_items` and `offset` choose."""
        max_items = request.query.get("max_items")
        offset = int(request.query.get("offset", -1))
        return web.json_response(self._queue.history(None if max_items is None else int(max_items), offset))

    async def get_history_of(self, request: web.Request) -> web.Response:
        """One prompt that ran."""
        return web.json_response(self._queue.history_of(request.match_info["prompt_id"]))

    async def post_history(self, request: web.Request) -> web.Response:
        """Forgets prompts that ran: `clear` all, or `delete` a list of ids."""
        asked = await request.json()
        if asked.get("clear"):
            self._queue.forget()
        for prompt_id in asked.get("delete", ()):
            self._queue.forget(prompt_id)
        return web.Response()

    async def post_interrupt(self, request: web.Request) -> web.Response:
        """Interrupts the prompt that runs; with `prompt_id` only if it is that one."""
        try:
            prompt_id = (await request.json()).get("prompt_id")
        except json.JSONDecodeError:
            prompt_id = None
        if prompt_id and prompt_id not in [running[1] for running in self._queue.running()]:
            logger.info("Prompt %s is not currently running, skipping interrupt", prompt_id)
        else:
            logger.info("Interrupting prompt %s", prompt_id or "(any)")
            self._worker.interrupt()
        return web.Response()

    async def post_free(self, request: web.Request) -> web.Response:
        """Empties the cache (`free_memory`)."""
        if (await request.json()).get("free_memory"):
            self._queue.free_memory()
        return web.Response()


def _refusal(error: dict[str, Any], node_errors: dict[str, Any]) -> web.Response:
    return web.json_response({"error": error, "node_errors": node_errors}, status=400)
