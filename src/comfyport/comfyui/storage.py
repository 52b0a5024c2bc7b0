"""Where ComfyUI keeps what goes in and comes out: in folders of this container, or behind the API of one elsewhere."""

import os
import shutil
import uuid
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from comfyport.comfyui.client import Client, StoredFile
from comfyport.errors import ComfyUIRefused, InputFailed, OutputFailed

# Below its output folder ComfyUI looks for models that a workflow saved (main.py).
SAVED_MODELS = ("checkpoints", "clip", "vae", "diffusion_models", "loras")


class Storage(Protocol):
    """The input and output files of one ComfyUI."""

    async def put(self, name: str, content: Path) -> None:
        """Makes a file an input called `name`; the file itself may be moved away. Raises InputFailed."""

    async def discard(self, name: str) -> None:
        """Removes an input, as far as ComfyUI lets us."""

    async def clear_inputs(self, ours: Callable[[str], bool]) -> None:
        """Removes the inputs whose file name, without its folder, is one of `ours`, as far as ComfyUI lets us."""

    async def fetch(self, file: StoredFile) -> Path:
        """A file that ComfyUI reports, on this disk. Raises OutputFailed."""

    def holds(self, file: StoredFile) -> bool:
        """Whether a file that ComfyUI reports is there, as far as that can be told without fetching it."""

    def sweep(self, *, before: float, keep: Container[StoredFile]) -> None:
        """Removes the outputs on this disk that were last changed before a time (seconds since 1970), but `keep`."""


class LocalStorage:
    """The folders below `base` of a ComfyUI that runs in this container: nothing is copied through its API."""

    def __init__(self, base: Path) -> None:
        self._base = base.absolute()

    async def put(self, name: str, content: Path) -> None:
        """Moves the file into the input folder."""
        try:
            target = self._base / "input" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # A rename, as long as both are on one disk: a thread would outlive a job that is cancelled now.
            shutil.move(content, target)
        except OSError as error:
            raise InputFailed([f"Error uploading {name}: {error.strerror or error}"]) from None

    async def discard(self, name: str) -> None:
        """Deletes the input, and the folders below `input` that become empty."""
        _remove(self._base / "input" / name, below=self._base / "input")

    async def clear_inputs(self, ours: Callable[[str], bool]) -> None:
        """Deletes them."""
        for path in list((self._base / "input").rglob("*")):
            if ours(path.name) and path.is_file():
                _remove(path, below=self._base / "input")

    async def fetch(self, file: StoredFile) -> Path:
        """The file where it lies. A node that reports a path outside of ComfyUI's folders is not believed."""
        return self._found(file)

    def holds(self, file: StoredFile) -> bool:
        """Whether the file lies where ComfyUI says."""
        try:
            return self._found(file).is_file()
        except OutputFailed:
            return False

    def sweep(self, *, before: float, keep: Container[StoredFile]) -> None:
        """Removes old files below `output` and `temp`, but not what a workflow saved as a model for later ones.

        Who makes one of the two folders a link to another place has outputs kept there.
        """
        for type_ in ("output", "temp"):
            folder = self._base / type_
            models = {folder / name for name in SAVED_MODELS} if type_ == "output" else set()
            for path in () if folder.is_symlink() else _old_files(folder, before, skip=models):
                subfolder = str(path.parent.relative_to(folder))
                if StoredFile(path.name, "" if subfolder == "." else subfolder, type_) not in keep:
                    _remove(path, below=folder)

    def _found(self, file: StoredFile) -> Path:
        folder = self._base / file.type
        path = Path(os.path.normpath(folder / file.subfolder / file.filename))
        if file.type not in ("output", "temp", "input") or not path.is_relative_to(folder):
            raise OutputFailed(file.filename, "it lies outside of ComfyUI's folders")
        try:
            is_file = path.is_file()
        except OSError as error:
            raise OutputFailed(file.filename, error.strerror or str(error)) from None
        if not is_file:
            raise OutputFailed(file.filename, "it is not there any more")
        return path


class RemoteStorage:
    """The files of a ComfyUI elsewhere, through its API; copies of outputs lie in `folder`."""

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

    async def clear_inputs(self, ours: Callable[[str], bool]) -> None:
        """Does nothing, for the same reason."""

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

    def holds(self, file: StoredFile) -> bool:
        """True: nobody but ComfyUI's owner removes files there."""
        return True

    def sweep(self, *, before: float, keep: Container[StoredFile]) -> None:
        """Removes our old copies; ComfyUI's API cannot delete its own files."""
        for path in _old_files(self._folder, before):
            _remove(path, below=self._folder)


def _old_files(folder: Path, before: float, *, skip: Container[Path] = ()) -> list[Path]:
    """The files below `folder` that were last changed before a time, outside of the folders in `skip`."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) not in skip]
        for name in names:
            path = Path(parent, name)
            with suppress(OSError):
                # Unlike the time of the last write, this one is not copied along with a file.
                if path.lstat().st_ctime < before:
                    found.append(path)
    return found


def _remove(path: Path, *, below: Path) -> None:
    """Deletes a file, if that is allowed, and the folders on its way up to `below` that become empty."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == below:
                break
            parent.rmdir()
