"""Puts a job's files where its workflow finds them, and takes them away when the job is over.

    async with inputs.fetched(request.files) as fetched:            on this disk; ComfyUI may still be starting
        async with inputs.placed(fetched, workflow) as placed:      in its input folder; the workflow says their names

A file goes to ComfyUI under a name made of its content (names.py): jobs cannot take each other's files for theirs, and
what ComfyUI has cached for the same content stays of use. Jobs at once with the same content share one file, which
goes when the last of them is over; what a killed worker left is removed by `clear` at the next start.
"""

import asyncio
import logging
import shutil
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from comfyport.comfyui.storage import Storage
from comfyport.comfyui.workflow import Workflow, input_name, renamed
from comfyport.errors import InputFailed
from comfyport.jobs import names, pictures
from comfyport.jobs.downloads import DownloadFailed, opened
from comfyport.jobs.embedded import decoded
from comfyport.jobs.pictures import PictureRefused
from comfyport.jobs.request import InputFile
from comfyport.jobs.staging import Allowance, Limits, Staged, TooLarge

logger = logging.getLogger(__name__)

# Enough to hide the latency of hosts, few enough to leave a slow line to each.
AT_ONCE = 4
BLOCK = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A file of a job on this disk: the name that the workflow has for it, and the one that ComfyUI is to know."""

    name: str
    stored: str
    path: Path


class Inputs:
    """The input files of one worker's jobs, on their way through `folder` into `storage`.

    The folder must be ours alone, and had better be on the disk of ComfyUI's input folder: a file is then moved, not
    copied. `tls` says which certificates of addresses are trusted.
    """

    def __init__(self, storage: Storage, folder: Path, limits: Limits, *, tls: ssl.SSLContext | bool = True) -> None:
        self._storage = storage
        self._folder = folder
        self._limits = limits
        self._tls = tls
        self._users: Counter[str] = Counter()
        self._placing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def clear(self) -> None:
        """Removes what jobs left that ended with their worker; to be called while no job runs."""
        if self._folder.is_dir():
            await asyncio.to_thread(shutil.rmtree, self._folder)
        await self._storage.clear_inputs(names.is_ours)

    @asynccontextmanager
    async def fetched(self, files: tuple[InputFile, ...]) -> AsyncIterator[tuple[Fetched, ...]]:
        """A job's files, on this disk while this is entered. Raises InputFailed with all that is wrong with them."""
        if not files:
            yield ()
            return
        if len(files) > self._limits.files:
            raise InputFailed([f"The job has {len(files)} files, more than the {self._limits.files} of INPUT_FILES"])
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield await self._fetch_all(files, folder)
        finally:
            # A thread that was at work when the job was cancelled may still write; `clear` has the last word.
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def placed(self, files: tuple[Fetched, ...], workflow: Workflow) -> AsyncIterator[Workflow]:
        """The workflow with the names under which its files are there while this is entered. Raises InputFailed."""
        async with AsyncExitStack() as stack:
            for file in files:
                await stack.enter_async_context(self._held(file))
            new_names = {input_name(file.name): file.stored for file in files}
            placed, mentioned = renamed(workflow, new_names)
            for unused in sorted(new_names.keys() - mentioned):
                logger.warning("no node of the workflow names the input file %r", unused)
            yield placed

    async def _fetch_all(self, files: tuple[InputFile, ...], folder: Path) -> tuple[Fetched, ...]:
        allowance = Allowance(self._limits)
        slots = asyncio.Semaphore(AT_ONCE)

        async def attempt(file: InputFile, path: Path) -> Fetched | InputFailed:
            async with slots:
                try:
                    return await self._fetch(file, path, allowance)
                except InputFailed as error:
                    return error

        results = await asyncio.gather(*(attempt(file, folder / str(n)) for n, file in enumerate(files)))
        failures = [result for result in results if isinstance(result, InputFailed)]
        if failures:
            raise InputFailed([problem for failure in failures for problem in failure.details["problems"]])
        return tuple(result for result in results if isinstance(result, Fetched))

    async def _fetch(self, file: InputFile, path: Path, allowance: Allowance) -> Fetched:
        doing = "fetching" if file.is_address else "decoding base64 for"
        try:
            with Staged(path, allowance) as staged:
                await (self._download(file, staged) if file.is_address else _decode(file, staged))
            doing = "reading"
            await asyncio.to_thread(pictures.check, path, most_pixels=self._limits.pixels, must_be=file.must_be_picture)
        except (ValueError, DownloadFailed, TooLarge, PictureRefused) as error:
            raise InputFailed([f"Error {doing} {file.name}: {error}"]) from None
        except OSError as error:
            raise InputFailed([f"Error storing {file.name}: {error.strerror or error}"]) from None
        return Fetched(file.name, names.stored(file.name, staged.sha256), path)

    async def _download(self, file: InputFile, staged: Staged) -> None:
        limits = self._limits
        try:
            async with (
                asyncio.timeout(limits.fetch_seconds),
                opened(
                    file.content, private=limits.private_urls, picture=file.must_be_picture, tls=self._tls
                ) as response,
            ):
                async for block in response.content.iter_chunked(BLOCK):
                    await asyncio.to_thread(staged.write, block)
        except TimeoutError:
            raise DownloadFailed(f"it took longer than the {limits.fetch_seconds:g} s of INPUT_SECONDS") from None

    @asynccontextmanager
    async def _held(self, file: Fetched) -> AsyncIterator[None]:
        """The file is in ComfyUI's input folder while this is entered, by us or by a job that brought the same."""
        placing = self._placing.setdefault(file.stored, asyncio.Lock())
        async with placing:
            if not self._users[file.stored]:
                await self._storage.put(file.stored, file.path)
            self._users[file.stored] += 1
        try:
            yield
        finally:
            async with placing:
                self._users[file.stored] -= 1
                if not self._users[file.stored]:
                    del self._users[file.stored]
                    await self._storage.discard(file.stored)


async def _decode(file: InputFile, staged: Staged) -> None:
    pieces = decoded(file.content)

    def write_next() -> bool:
        piece = next(pieces, None)
        if piece is not None:
            staged.write(piece)
        return piece is not None

    while await asyncio.to_thread(write_next):
        pass
