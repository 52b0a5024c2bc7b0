"""Files onto the volume: `<volume>/outputs/<job id>/<name>`."""

import asyncio
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from comfyport.errors import DeliveryFailed

FOLDER = "outputs"


async def put(volume: Path, key: str, file: Path) -> str:
    """Copies a file there, whole or not at all; its path below the volume. Raises DeliveryFailed."""
    try:
        await asyncio.to_thread(_copied, file, volume / FOLDER / key)
    except OSError as error:
        raise DeliveryFailed(key, f"the volume {volume}: {error.strerror or error}") from None
    return f"{FOLDER}/{key}"


def unusable(volume: Path) -> str:
    """Why nothing can be put there, as far as that can be told; empty if it can."""
    try:
        (volume / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(volume / FOLDER, os.W_OK) else "it cannot be written to"


def _copied(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        shutil.copyfile(file, part)
        with part.open("rb") as opened:
            os.fsync(opened.fileno())
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
