"""The build context: the files that COPY may name, on disk or as a client has uploaded them."""

import os.path
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol


class Context(Protocol):
    """The files that a build can have. Paths are relative to the root, with `/` between their parts."""

    def holds(self, source: str) -> bool:
        """Whether a source of COPY (a file, a folder or a pattern) finds at least one file."""

    def read(self, path: str) -> str | None:
        """A file's text; None if it is not there or not known."""


class Uploaded:
    """What a client has uploaded; the content of the files is not looked at."""

    def __init__(self, paths: Collection[str]) -> None:
        self._paths = paths

    def holds(self, source: str) -> bool:
        """Whether a source of COPY finds at least one file."""
        wanted = inside(source)
        if wanted == ".":
            return bool(self._paths)
        return any(
            fnmatchcase(str(candidate), wanted)
            for path in self._paths
            for candidate in (PurePosixPath(path), *PurePosixPath(path).parents)
        )

    def read(self, path: str) -> str | None:
        """None: only names are known."""
        return None


class Folder:
    """A folder on disk; `ignored` says which of its files (relative paths) are kept from the build."""

    def __init__(self, root: Path, ignored: Callable[[Path], bool]) -> None:
        self._root = root
        self._ignored = ignored

    def holds(self, source: str) -> bool:
        """Whether a source of COPY finds at least one file."""
        wanted = inside(source)
        found = [self._root] if wanted == "." else self._root.glob(wanted)
        return any(not self._ignored(file.relative_to(self._root)) for path in found for file in _files(path))

    def read(self, path: str) -> str | None:
        """A file's text; None if it is not there or is kept from the build."""
        file = self._root / inside(path)
        if not file.is_file() or self._ignored(file.relative_to(self._root)):
            return None
        return file.read_text(encoding="utf-8", errors="replace")


def inside(source: str) -> str:
    """A source of COPY as a path from the root of the context, which `/` and `./` name too; `..` if it leads out."""
    return os.path.normpath(source.lstrip("/") or ".")


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
    elif path.is_file():
        yield path
