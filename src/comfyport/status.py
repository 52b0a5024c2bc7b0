"""The container's notice board: small JSON files that one process writes and every other may read.

    <run folder>/models.json     written by the downloader: which files are ready, how fast the rest comes
    <run folder>/nodes.json      written while custom nodes are brought: how each stands
    <run folder>/comfyui.json    written by the worker: the state of ComfyUI
    <run folder>/start.json      written by the worker: seconds that each phase of the start took
    <run folder>/wanted.json     written by the worker: the files that jobs wait for, to be brought first

A section has one writer at a time, so that no lock is needed; it is replaced as a whole, so that a reader never
sees half of one.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

SECTIONS = ("models", "nodes", "comfyui", "start", "wanted")


class Board:
    """The notice board in one folder. Nothing secret may be written on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, section: str, content: dict[str, Any]) -> None:
        """Replaces a section; adds `at`, the time of writing in seconds since 1970."""
        self.directory.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.directory, prefix=f".{section}-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({**content, "at": time.time()}, file)
        Path(name).replace(self._file(section))

    def read(self, section: str) -> dict[str, Any] | None:
        """The section as it was last written; None if nobody has written it since the start."""
        try:
            content: dict[str, Any] = json.loads(self._file(section).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return content

    def read_all(self) -> dict[str, dict[str, Any] | None]:
        """Every section by its name."""
        return {section: self.read(section) for section in SECTIONS}

    def clear(self) -> None:
        """Wipes what an earlier run left."""
        for section in SECTIONS:
            self._file(section).unlink(missing_ok=True)

    def _file(self, section: str) -> Path:
        return self.directory / f"{section}.json"
