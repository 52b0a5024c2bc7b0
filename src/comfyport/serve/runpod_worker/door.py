"""Serves RunPod: starts the worker, then hands the process over to RunPod's SDK."""

import logging
import os
import signal
from types import FrameType
from typing import Any

from comfyport.errors import ComfyportError
from comfyport.serve.host import Host, handler, shared, stop_shared
from comfyport.serve.runpod_worker import environment
from comfyport.serve.runpod_worker.machine import MachineCheck, leave_out
from comfyport.settings import Settings

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Takes jobs until RunPod stops the worker.

    Raises ComfyportError if the worker cannot go on, SystemExit if a job was cut short. Of a worker that is not fit to
    begin with, the SDK tells the platform and ends the process.
    """
    environment.set_defaults(os.environ)
    signal.signal(signal.SIGTERM, _end)
    machine = MachineCheck.begin(os.environ)
    try:
        start = _start()
        # Not before: the import takes seconds, in which ComfyUI starts already, and reads the environment.
        import runpod

        from comfyport.serve.runpod_worker import fitness

        fitness.register(runpod.serverless.register_fitness_check, start, machine)
        runpod.serverless.start(_config(start, settings))
    finally:
        # What is left takes seconds at most and ends ComfyUI; a second signal shall not cut it short.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if machine:
            machine.end()
        stop_shared()


def _start() -> Host | ComfyportError:
    try:
        return shared()
    except ComfyportError as error:
        logger.error("%s", error.message)
        return error


def _config(start: Host | ComfyportError, settings: Settings) -> dict[str, Any]:
    """What the SDK's `start` takes; one that we know is given our pace besides."""
    from runpod import __version__ as version

    from comfyport.serve.runpod_worker import pace, sdk, stock

    config: dict[str, Any] = {"handler": handler}
    if sdk.is_known():
        leave_out(os.environ)
        if isinstance(start, Host):
            pace.install(start, stream=settings.stream_progress, grace=settings.stop_seconds)
    else:
        logger.warning("RunPod's SDK %s is not as it is known here: its own pace, and no progress", version)
        if isinstance(start, Host):
            config["concurrency_modifier"] = stock.StopOnSignal(start, grace=settings.stop_seconds)
    return config


def _end(number: int, frame: FrameType | None) -> None:
    """Ends a start that is not wanted any more."""
    raise SystemExit(0)
