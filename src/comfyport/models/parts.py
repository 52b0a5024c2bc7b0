"""A download under way, on disk: its bytes, and a journal of which of them are there.

    <parts>/<key>.<unique>/data         the file, full length, with holes where nothing has arrived yet
    <parts>/<key>.<unique>/journal      a line "<first> <end>\n" for every piece that was written, appended after it
    <parts>/<key>.<unique>/owner.json   the process that writes here

The key is the sha256 of the content, so that whatever stands in `data` for it is right or will be found wrong. A folder
belongs to one process; when that one is dead, another may take it over by renaming it, which only one can. A writer
that was thought dead and is not does no harm: it writes the same bytes to the same places.
"""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from comfyport.models.owner import Owner

# Written to for the last time so long ago, by a process that nobody can ask: abandoned.
STALE_SECONDS = 20.0

Span = tuple[int, int]


class PartFile:
    """The folder of one download; `spans` is what was there when it was opened, sorted and merged.

    Its files are closed when the last writer has left, and not before: the number of a closed file is soon another's.
    """

    def __init__(self, folder: Path, spans: list[Span]) -> None:
        self.folder = folder
        self.spans = spans
        self.data = folder / "data"
        self._file = os.open(self.data, os.O_RDWR | os.O_CREAT, 0o644)
        self._journal = os.open(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._users = 1

    @property
    def bytes_there(self) -> int:
        """How many bytes `spans` stands for."""
        return sum(end - start for start, end in self.spans)

    def reload(self) -> None:
        """Brings `spans` up to what has been written since."""
        self.spans = _spans(self.folder)

    def resize(self, size: int) -> None:
        """Gives the file its full length, or cuts it."""
        with self._open() as is_open:
            if is_open:
                os.ftruncate(self._file, size)

    def write(self, content: memoryview, at: int) -> bool:
        """Writes `content` at an offset, and notes it; False if the part is closed. Raises OSError."""
        with self._open() as is_open:
            if not is_open:
                return False
            start = at
            # The kernel lets one write at a time into a file, and has the others spin; waiting here costs nothing.
            with self._writing:
                while content:
                    written = os.pwrite(self._file, content, at)
                    content, at = content[written:], at + written
                os.write(self._journal, b"%d %d\n" % (start, at))
        return True

    def read(self, buffer: memoryview, at: int) -> int:
        """Reads back into `buffer` from an offset; the bytes read."""
        return os.preadv(self._file, [buffer], at)

    def flush(self) -> None:
        """Sees to it that everything written survives a crash."""
        os.fdatasync(self._file)

    def forget(self) -> None:
        """Throws everything away that has been written."""
        with self._open() as is_open:
            if is_open:
                os.ftruncate(self._journal, 0)
                os.ftruncate(self._file, 0)
                self.spans = []

    def close(self) -> None:
        """Ends the use of the part by whoever opened it; the folder stays for whoever goes on."""
        self._leave()

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _open(self) -> Iterator[bool]:
        """Whether the files may be used; they stay open for as long as this is entered."""
        with self._lock:
            is_open = self._users > 0
            self._users += is_open
        try:
            yield is_open
        finally:
            if is_open:
                self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                os.close(self._file)
                os.close(self._journal)


def open_part(parts: Path, key: str | None, owner: Owner) -> PartFile:
    """A part to write to: an abandoned one of the same key with most in it, else a new one.

    Without a key (nobody knows the content) it is always a new one.
    """
    mine = parts / f"{key or 'unpinned'}.{uuid.uuid4().hex}"
    claimed = key is not None and _claim(parts, key, mine)
    if not claimed:
        mine.mkdir()
    (mine / "owner.json").write_text(json.dumps(owner.as_json()), encoding="utf-8")
    return PartFile(mine, _spans(mine) if claimed else [])


def bytes_there(parts: Path, keys: Iterable[str]) -> int:
    """Bytes on disk in parts of these keys: room that a download will not need again."""
    wanted = set(keys)
    total = 0
    for folder in parts.glob("*.*"):
        if folder.name.partition(".")[0] in wanted:
            with suppress(OSError):
                total += (folder / "data").stat().st_blocks * 512
    return total


def _claim(parts: Path, key: str, mine: Path) -> bool:
    abandoned = [folder for folder in parts.glob(f"{key}.*") if _is_abandoned(folder)]
    for folder in sorted(abandoned, key=_length, reverse=True):
        with suppress(OSError):
            folder.rename(mine)
            return True
    return False


def _is_abandoned(folder: Path) -> bool:
    try:
        owner = Owner.from_json(json.loads((folder / "owner.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return _is_stale(folder)
    dead = owner.is_dead()
    return _is_stale(folder) if dead is None else dead


def _is_stale(folder: Path) -> bool:
    try:
        # The clocks of two machines differ; what lies on one disk was stamped by one clock.
        probe = folder.with_name(f".clock-{uuid.uuid4().hex}")
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        written = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return False
    return now - written > STALE_SECONDS


def _length(folder: Path) -> int:
    return sum(end - start for start, end in _spans(folder))


def _spans(folder: Path) -> list[Span]:
    """What the journal says is there, merged; a last line that was cut off says nothing."""
    try:
        lines = (folder / "journal").read_bytes().split(b"\n")[:-1]
        size = (folder / "data").stat().st_size
    except OSError:
        return []
    found: list[Span] = []
    for line in lines:
        numbers = line.split()
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):
            start, end = int(numbers[0]), int(numbers[1])
            if start < end <= size:
                found.append((start, end))
    return merged(found)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch as one."""
    whole: list[Span] = []
    for start, end in sorted(spans):
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], end))
        else:
            whole.append((start, end))
    return whole
