"""Where ComfyUI keeps what goes in and comes out: in folders of this container, or behind the API of one elsewhere."""

import asyncio
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from comfyport.comfyui.client import Client, StoredFile
from comfyport.errors import ComfyUIRefused, InputFailed, OutputFailed


class Storage(Protocol):
    """The input and output files of one ComfyUI."""

    async def put(self, name: str, content: Path) -> None:
        """Makes a file an input called `name`; the file itself may be moved away. Raises InputFailed."""

    async def discard(self, name: str) -> None:
        """Removes an input, as far as ComfyUI lets us."""

    async def fetch(self, file: StoredFile) -> Path:
        """A file that ComfyUI reports, on this disk. Raises OutputFailed."""

    async def release(self, file: StoredFile, path: Path) -> None:
        """Removes what `fetch` gave from this disk."""


class LocalStorage:
    """The folders below `base` of a ComfyUI that runs in this container: nothing is copied through its API."""

    def __init__(self, base: Path) -> None:
        self._base = base.absolute()

    async def put(self, name: str, content: Path) -> None:
        """Moves the file into the input folder."""
        try:
            await asyncio.to_thread(shutil.move, content, self._base / "input" / name)
        except OSError as error:
            raise InputFailed([f"Error uploading {name}: {error.strerror or error}"]) from None

    async def discard(self, name: str) -> None:
        """Deletes the input."""
        (self._base / "input" / name).unlink(missing_ok=True)

    async def fetch(self, file: StoredFile) -> Path:
        """The file where it lies. A node that reports a path outside of ComfyUI's folders is not believed."""
        return self._found(file)

    async def release(self, file: StoredFile, path: Path) -> None:
        """Deletes the file, and the folders below `output` or `temp` that become empty."""
        if file.type != "input":
            _remove(path, below=self._base / file.type)

    def _found(self, file: StoredFile) -> Path:
        folder = self._base / file.type
        path = Path(os.path.normpath(folder / file.subfolder / file.filename))
        if file.type not in ("output", "temp", "input") or not path.is_relative_to(folder):
            raise OutputFailed(file.filename, "it lies outside of ComfyUI's folders")
        if not path.is_file():
            raise OutputFailed(file.filename, "it is not there any more")
        return path


class RemoteStorage:
    """The files of a ComfyUI elsewhere, through its API; outputs are kept in `folder` until they are released."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder

    async def put(self, name: str, content: Path) -> None:
        """Uploads the file."""
        try:
            await self._client.upload(name, content)
        except ComfyUIRefused as error:
            raise InputFailed([f"Error uploading {name}: {error.message}"]) from None

    async def discard(self, name: str) -> None:
        """Does nothing: ComfyUI's API cannot delete an input."""

    async def fetch(self, file: StoredFile) -> Path:
        """Downloads the file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / uuid.uuid4().hex
        try:
            await self._client.download(file, path)
        except ComfyUIRefused as error:
            _remove(path, below=self._folder)
            raise OutputFailed(file.filename, error.message) from None
        return path

    async def release(self, file: StoredFile, path: Path) -> None:
        """Deletes our copy; ComfyUI's API cannot delete its own."""
        _remove(path, below=self._folder)


def _remove(path: Path, *, below: Path) -> None:
    """Deletes a file, and the folders on its way up to `below` that become empty."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        for parent in path.parents:
            if parent == below:
                break
            parent.rmdir()
