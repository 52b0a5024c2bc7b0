"""Removes delivered outputs from this disk, once ComfyUI cannot name them again.

ComfyUI answers a node whose inputs have not changed from its cache, with the names of the files that it wrote then. By
default it remembers the last prompt only, so that a job's files go when the next one has been delivered.
"""

from collections import deque
from pathlib import Path

from comfyport.comfyui.client import StoredFile
from comfyport.comfyui.storage import Storage
from comfyport.jobs.outputs import Outputs

# With a cache that is bounded by memory nobody knows how many prompts it holds.
UNKNOWN = 100


class Leftovers:
    """The delivered files of the last `prompts` jobs, those that ComfyUI's cache may name."""

    def __init__(self, storage: Storage, prompts: int) -> None:
        self._storage = storage
        self._prompts = prompts
        self._delivered: deque[dict[Path, StoredFile]] = deque()

    async def delivered(self, outputs: Outputs) -> None:
        """Notes a job's files, and removes those of the jobs before it that have become of no use."""
        self._delivered.append({output.path: output.stored for output in outputs.files})
        while len(self._delivered) > self._prompts:
            await self._remove(self._delivered.popleft())

    async def clear(self) -> None:
        """Removes all."""
        while self._delivered:
            await self._remove(self._delivered.popleft())

    async def _remove(self, files: dict[Path, StoredFile]) -> None:
        named_again = {path for later in self._delivered for path in later}
        for path, file in files.items():
            if path not in named_again:
                await self._storage.release(file, path)


def prompts_cached(arguments: tuple[str, ...]) -> int:
    """How many prompts ComfyUI's cache remembers, by its command line (comfy/cli_args.py)."""
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--cache-none":
            return 0
        if name == "--cache-lru":
            count = value or "".join(arguments[number + 1 : number + 2])
            return max(1, int(count)) if count.isdecimal() else UNKNOWN
        if name == "--cache-ram":
            return UNKNOWN
    return 1
