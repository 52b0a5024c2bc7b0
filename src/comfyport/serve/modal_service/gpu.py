"""The life of a GPU container: its worker, from Modal's `enter` hooks until it is of no more use (modal 1.6)."""

import asyncio
import logging
from typing import Any

from comfyport.serve import host, logs
from comfyport.serve.modal_service import service
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
    service.leave_when(lambda: asyncio.run(worker.wait_worn_out()))


def reload(volume: Any) -> None:
    """Shows this container what was committed to the Volume since its mount, or since a memory snapshot.

    Where Modal refuses because a file of it is open, a custom node's library most often, what was mounted is used.
    """
    try:
        volume.reload()
    except RuntimeError as error:
        logger.warning("the Volume stays as it was when this container got it: %s", error)
