"""Puts a job's files where its workflow finds them, and takes them away when the job is over.

A file goes to ComfyUI under a name made of its content, and the workflow is made to say that name: jobs cannot take
each other's files for theirs, and what ComfyUI has cached for the same content stays of use.
"""

import asyncio
import base64
import binascii
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from comfyport.comfyui.storage import Storage
from comfyport.comfyui.workflow import Workflow, renamed
from comfyport.errors import InputFailed
from comfyport.jobs.request import InputFile


@asynccontextmanager
async def placed(files: tuple[InputFile, ...], workflow: Workflow, storage: Storage) -> AsyncIterator[Workflow]:
    """The workflow with the names under which its files are there while this is entered.

    Raises InputFailed with all that went wrong.
    """
    with tempfile.TemporaryDirectory(prefix="comfyport-inputs-") as folder:
        names: dict[str, str] = {}
        problems: list[str] = []
        try:
            for number, file in enumerate(files):
                try:
                    content = await asyncio.to_thread(_decoded, file, Path(folder) / str(number))
                    names[file.name] = _unique(file.name, content)
                    await storage.put(names[file.name], content)
                except InputFailed as error:
                    problems += error.details["problems"]
            if problems:
                raise InputFailed(problems)
            yield renamed(workflow, names)
        finally:
            for name in names.values():
                await storage.discard(name)


def _decoded(file: InputFile, to: Path) -> Path:
    try:
        to.write_bytes(decode(file.content))
    except ValueError as error:
        raise InputFailed([f"Error decoding base64 for {file.name}: {error}"]) from None
    return to


def _unique(name: str, content: Path) -> str:
    with content.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{digest[:16]}-{name.replace('/', '-')}"


def decode(data: str) -> bytes:
    """The bytes of base64 text, with or without `data:…;base64,` before it. Raises ValueError."""
    text = data.split(",", 1)[1] if data.startswith("data:") and "," in data else data
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
