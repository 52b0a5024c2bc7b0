"""The life of a GPU container: its worker, started when Modal starts the container."""

import asyncio

from comfyport.serve import logs
from comfyport.serve.host import shared
from comfyport.settings import Settings


def start() -> None:
    """Starts this container's worker and returns when jobs may be taken. Raises ComfyportError."""
    logs.configure(Settings.load().log_level)
    host = shared()
    asyncio.run(host.wait_ready())
