"""The HTTP face on Modal: the same application, over Modal's queue."""

from typing import Any

from fastapi import FastAPI

from comfyport import wiring
from comfyport.serve import http_app
from comfyport.serve.metrics import Counted
from comfyport.serve.modal_service.queue import ModalQueue
from comfyport.settings import Settings


def build(run: Any, *, app: str, notify: Any) -> FastAPI:
    """The HTTP application of `app`; `run` is the GPU class's method, bound, and `notify` posts webhooks."""
    settings, queue = Settings.load(), ModalQueue(run, app=app, notify=notify)

    async def status() -> http_app.WorkerStatus:
        # Modal starts a GPU container when a job comes; the door itself is always open.
        return http_app.WorkerStatus(ready=True, board={}, workers=await queue.containers())

    offered, metrics = wiring.recipes(settings), Counted(queue.gauges)
    return http_app.build(queue, status=status, settings=settings, offered=offered, metrics=metrics)
