"""The HTTP face on Modal: the same application, over Modal's queue."""

from typing import Any

from fastapi import FastAPI

from comfyport import wiring
from comfyport.serve import http_app
from comfyport.serve.modal_service.queue import ModalQueue
from comfyport.settings import Settings


def build(run: Any) -> FastAPI:
    """The HTTP application; `run` is the GPU class's method, bound."""
    settings = Settings.load()
    return http_app.build(ModalQueue(run), status=_status, settings=settings, offered=wiring.recipes(settings))


async def _status() -> http_app.WorkerStatus:
    # Modal starts a GPU container when a job comes; the door itself is always open.
    return http_app.WorkerStatus(ready=True, board={})
