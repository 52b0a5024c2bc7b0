"""The life of a GPU container: its worker, from Modal's `enter` hooks until it is of no more use (modal 1.6)."""

import asyncio
import logging
import threading
from typing import Any

import modal

from comfyport.serve import host, logs
from comfyport.settings import Settings

logger = logging.getLogger(__name__)


def boot(*, snapshot: bool) -> None:
    """With `snapshot`: starts ComfyUI before there is a GPU, and returns when it answers. Raises SnapshotFailed."""
    if snapshot:
        logs.configure(Settings.load().log_level)
        host.boot_shared()


def start(volume: Any) -> None:
    """Starts the rest of this container's worker and returns when jobs may be taken. Raises ComfyportError."""
    logs.configure(Settings.load().log_level)
    reload(volume)
    worker = host.shared()
    asyncio.run(worker.wait_ready())
    volume.commit()
    threading.Thread(target=_leave_when_worn_out, args=(worker,), name="out-of-service", daemon=True).start()


def reload(volume: Any) -> None:
    """Shows this container what was committed to the Volume since its mount, or since a memory snapshot.

    Where Modal refuses because a file of it is open, a custom node's library most often, what was mounted is used.
    """
    try:
        volume.reload()
    except RuntimeError as error:
        logger.warning("the Volume stays as it was when this container got it: %s", error)


def _leave_when_worn_out(worker: host.Host) -> None:
    """Takes the container out of service once its ComfyUI is given up: jobs that wait go to another one."""
    error = asyncio.run(worker.wait_worn_out())
    logger.error("this container takes no more jobs: %s", error.message)
    modal.experimental.stop_fetching_inputs()
