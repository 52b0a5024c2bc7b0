"""What a container sees of a Volume: a copy from the moment of mounting, which `commit` and `reload` compare with it.

The store of a Volume holds what was committed. A container changes its own copy only; `commit` carries over what it
has changed since the two last agreed, whatever others have done there (per file, the last one wins), and `reload`
brings what others have committed, unless a process has a file of the copy open.
"""

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Stamp = tuple[object, ...]


class OpenFiles(Exception):
    """A reload is refused: processes have files of the Volume open."""


class Copy:
    """A Volume as one container has it mounted: `path` is the folder to show, `name` the Volume's."""

    def __init__(self, name: str, store: Path, path: Path, *, read_only: bool = False) -> None:
        self.name = name
        self.path = path
        self._store = store
        self._read_only = read_only
        self._mine: dict[str, Stamp] = {}
        self._theirs: dict[str, Stamp] = {}
        path.mkdir(parents=True)
        self._take_over()

    def commit(self) -> None:
        """Carries what was changed here to the store; what is still being written goes as it is at this moment."""
        if self._read_only:
            return
        now = _stamps(self.path)
        for path in [path for path in now if now[path] != self._mine.get(path)]:
            try:
                _copy(self.path / path, self._store / path)
            except FileNotFoundError:
                # Renamed or removed since it was seen: the next commit finds it so.
                del now[path]
                continue
            self._theirs[path] = _stamp(self._store / path)
        for path in sorted(self._mine.keys() - now.keys(), reverse=True):
            _remove(self._store / path)
            self._theirs.pop(path, None)
        self._mine = now

    def reload(self) -> None:
        """Shows what others have committed; what was changed here is committed first. Raises OpenFiles."""
        if in_use(self.path):
            raise OpenFiles
        self.commit()
        self._take_over()

    def _take_over(self) -> None:
        stored = _stamps(self._store)
        for path in sorted(_stamps(self.path).keys() - stored.keys(), reverse=True):
            _remove(self.path / path)
        for path, stamp in stored.items():
            if stamp != self._theirs.get(path):
                _copy(self._store / path, self.path / path)
        self._theirs = stored
        self._mine = _stamps(self.path)


def in_use(folder: Path) -> bool:
    """Whether any process has a file or folder below `folder` open, mapped, or as its working directory.

    Files are told by device and inode, since a container may see them at another path. Without /proc: never.
    """
    places = {(status.st_dev, status.st_ino) for status in map(os.lstat, _below(folder))}
    places.add((folder.stat().st_dev, folder.stat().st_ino))
    names = {(place.lstat().st_ino, place.name) for place in _below(folder)}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for link in (process / "cwd", *(process / "fd").iterdir()):
                with suppress(OSError):
                    status = link.stat()
                    if (status.st_dev, status.st_ino) in places:
                        return True
            if any(mapped in names for mapped in _mapped(process)):
                return True
    return False


def _mapped(process: Path) -> Iterator[tuple[int, str]]:
    """Inode and name of the files that a process has mapped; the device is told differently here, so it is left out."""
    for line in (process / "maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6:
            yield int(parts[4]), parts[5].rpartition("/")[2]


def _stamps(folder: Path) -> dict[str, Stamp]:
    """What tells the state of everything below `folder`, folders before what they hold."""
    found = {}
    for place in _below(folder):
        with suppress(FileNotFoundError):
            found[place.relative_to(folder).as_posix()] = _stamp(place)
    return found


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def _stamp(place: Path) -> Stamp:
    status = place.lstat()
    if stat.S_ISDIR(status.st_mode):
        return ("folder",)
    if stat.S_ISLNK(status.st_mode):
        return ("link", str(place.readlink()))
    return ("file", status.st_size, status.st_mtime_ns, status.st_ino)


def _copy(source: Path, target: Path) -> None:
    """Makes `target` what `source` is; others see it whole or not at all."""
    if source.is_dir() and not source.is_symlink():
        if target.is_symlink() or not target.is_dir():
            _remove(target)
            target.mkdir(parents=True)
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{uuid.uuid4().hex}.copy")
    try:
        shutil.copy2(source, beside, follow_symlinks=False)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        # What somebody else has put there stays, and its folder with it.
        with suppress(OSError):
            place.rmdir()
    else:
        place.unlink(missing_ok=True)
