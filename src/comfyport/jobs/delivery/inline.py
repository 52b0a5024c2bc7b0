"""Files in the answer itself, as base64, and how large an answer that makes."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from comfyport.errors import DeliveryFailed

# Timings, and what a door puts around an answer.
ENVELOPE_BYTES = 2000


async def encoded(file: Path, name: str) -> str:
    """The file's content in base64. Raises DeliveryFailed."""
    try:
        return await asyncio.to_thread(_encoded, file)
    except OSError as error:
        raise DeliveryFailed(name, error.strerror or str(error)) from None


def answer_bytes(lists: dict[str, Any], files: tuple[int, ...] = ()) -> int:
    """The size of an answer as JSON, with files of these sizes still to be put into `lists` as base64."""
    return ENVELOPE_BYTES + len(json.dumps(lists)) + sum(4 * ((size + 2) // 3) for size in files)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")
