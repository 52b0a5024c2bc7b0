"""What a workflow put out -> files on this disk, each with what is known of it."""

import asyncio
import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyport.comfyui.client import Json, StoredFile
from comfyport.comfyui.storage import Storage


@dataclass(frozen=True)
class Output:
    """One file that a node put out: `kind` is its list in the answer, `path` where it lies now, `size` in bytes."""

    kind: str
    node_id: str
    stored: StoredFile
    path: Path
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Outputs:
    """All that a job put out, in ComfyUI's order; `text` as (node id, text)."""

    files: tuple[Output, ...] = ()
    text: tuple[tuple[str, str], ...] = ()


async def collect(outputs: dict[str, Json], storage: Storage, *, include_temp: bool = False) -> Outputs:
    """The files of all nodes; previews of the type `temp` only if asked for. Raises OutputFailed."""
    files = [
        await _described(node_id, file, storage)
        for node_id, file in _images(outputs)
        if include_temp or file.type != "temp"
    ]
    return Outputs(tuple(files))


def _images(outputs: dict[str, Json]) -> Iterator[tuple[str, StoredFile]]:
    for node_id, output in outputs.items():
        for image in output.get("images") or ():
            yield node_id, StoredFile(image["filename"], image.get("subfolder", ""), image.get("type", "output"))


async def _described(node_id: str, file: StoredFile, storage: Storage) -> Output:
    path = await storage.fetch(file)
    size, digest = await asyncio.to_thread(_measured, path)
    media_type = mimetypes.guess_type(file.filename)[0] or "application/octet-stream"
    return Output("images", node_id, file, path, media_type, size, digest)


def _measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as opened:
        return path.stat().st_size, hashlib.file_digest(opened, "sha256").hexdigest()
