"""The life of a GPU container: its worker, from Modal's `enter` hooks until it is of no more use (modal 1.6)."""

import asyncio
from typing import Any

from comfyport.serve import host, logs
from comfyport.serve.modal_service import service, sharing
from comfyport.settings import Settings


def boot(*, snapshot: bool) -> None:
    """With `snapshot`: starts ComfyUI before there is a GPU, and returns when it answers. Raises SnapshotFailed."""
    if snapshot:
        logs.configure(Settings.load().log_level)
        host.boot_shared()


def start(volume: Any) -> None:
    """Starts the rest of this container's worker and returns when jobs may be taken. Raises ComfyportError."""
    logs.configure(Settings.load().log_level)
    # Others may have committed since the mount, or since a memory snapshot.
    sharing.reload(volume)
    worker = host.shared()
    asyncio.run(worker.wait_ready())
    sharing.commit(volume)
    service.leave_when(lambda: asyncio.run(worker.wait_worn_out()))
