"""What the hub hands out: bytes in memory, files on disk, or content that is made up while it is read."""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

CHUNK = 256 * 1024
"""Bytes that are read and sent at a time."""

_BLOCK = 1024 * 1024
_BLOCK_LABEL = 16


class Content(ABC):
    """One file's bytes, readable from any offset; `size` is in bytes."""

    size: int

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """The bytes `[offset, offset + length)`, which lie inside the content."""

    def chunks(self, start: int, length: int, step: int = CHUNK) -> Iterator[bytes]:
        """The bytes `[start, start + length)` in pieces of at most `step`."""
        for offset in range(start, start + length, step):
            yield self.read(offset, min(step, start + length - offset))

    @cached_property
    def sha256(self) -> str:
        """The digest as 64 lower-case hex digits; what Git LFS calls the oid."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def git_blob_id(self) -> str:
        """The id that git gives these bytes: sha1 over `blob <size>`, a zero byte, and the bytes."""
        digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()


class BytesContent(Content):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        """A slice."""
        return self.data[offset : offset + length]


class FileContent(Content):
    """A file on disk, opened for each read, so that it may be larger than memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        """One read of the file."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


class SparseContent(Content):
    """Content of any size that costs neither disk nor memory, the same on every machine for one `seed`.

    Every MiB begins with its own number, so a block that lands at a wrong offset changes the sha256.
    Working out the sha256 reads all of it, at about 1 GiB/s: pass a known one for very large files.
    """

    def __init__(self, size: int, *, seed: int = 0, sha256: str | None = None) -> None:
        self.size = size
        self._pattern = random.Random(seed).randbytes(_BLOCK)
        if sha256 is not None:
            self.__dict__["sha256"] = sha256

    def read(self, offset: int, length: int) -> bytes:
        """Puts the asked span together from numbered blocks."""
        pieces = []
        position, end = offset, offset + length
        while position < end:
            number, start = divmod(position, _BLOCK)
            stop = min(_BLOCK, start + end - position)
            pieces.append(self._part_of_block(number, start, stop))
            position += stop - start
        return b"".join(pieces)

    def _part_of_block(self, number: int, start: int, stop: int) -> bytes:
        if start >= _BLOCK_LABEL:
            return self._pattern[start:stop]
        label = number.to_bytes(_BLOCK_LABEL, "big")[start:stop]
        return label + self._pattern[_BLOCK_LABEL:stop]


class MadeContent(Content):
    """Bytes that `make` returns when they are first read; size and sha256 are known before."""

    def __init__(self, size: int, sha256: str, make: Callable[[], bytes]) -> None:
        self.size = size
        self.__dict__["sha256"] = sha256
        self._make = make

    def read(self, offset: int, length: int) -> bytes:
        """A slice of what was made."""
        return self._made[offset : offset + length]

    @cached_property
    def _made(self) -> bytes:
        return self._make()


class FlippedContent(Content):
    """Another content with one bit, in the byte at `position`, turned over."""

    def __init__(self, original: Content, position: int) -> None:
        self.original = original
        self.size = original.size
        self.position = position

    def read(self, offset: int, length: int) -> bytes:
        """The original's bytes; the lowest bit of one of them differs."""
        data = self.original.read(offset, length)
        index = self.position - offset
        if not 0 <= index < len(data):
            return data
        return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


class ChangedContent(Content):
    """Another content with every bit turned over: same size, nothing else in common."""

    _inverted = bytes(255 - value for value in range(256))

    def __init__(self, original: Content) -> None:
        self.original = original
        self.size = original.size

    def read(self, offset: int, length: int) -> bytes:
        """The original's bytes, inverted."""
        return self.original.read(offset, length).translate(self._inverted)


class ShortenedContent(Content):
    """Another content without its last `missing` bytes."""

    def __init__(self, original: Content, missing: int) -> None:
        self.original = original
        self.size = max(original.size - missing, 0)

    def read(self, offset: int, length: int) -> bytes:
        """The original's bytes."""
        return self.original.read(offset, length)


def as_content(value: bytes | Path | Content) -> Content:
    """What tests write down, bytes or a path, as content."""
    if isinstance(value, bytes):
        return BytesContent(value)
    if isinstance(value, Path):
        return FileContent(value)
    return value
