"""Unpacks an archive into a folder of its own, trusting nothing that it says.

Names, sizes and kinds are looked at before a byte of a member is written, files are created and never opened, and
what is refused half-way leaves the folder as empty as it was. Permissions, owners and times are the archive's
business, not ours: they are not taken over.
"""

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from comfyport.errors import ArchiveRefused, DiskFull
from comfyport.models.events import Stopped
from comfyport.models.formats import opened_zip
from comfyport.models.paths import folded, remote_path, safe_path

CHUNK = 1 << 20
MOST_MEMBERS = 100_000
# A path's folders are remembered one by one; nobody nests models deeper.
MOST_PARTS = 32
# What may stand between two files of a tar: a header with long names and attributes, or the padding behind the last.
LONGEST_GAP = 1 << 20

_ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
# Bits 0 and 6: the data; bit 13: the directory. APPNOTE.TXT, 4.4.4.
_ZIP_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
# What zipfile, tarfile and the unpackers below them raise when they read nonsense.
_NONSENSE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, ArithmeticError, LookupError, RuntimeError),
)

Format = Literal["zip", "tar"]


class _Refused(Exception):
    """What speaks against an archive."""


def unpack(
    archive: Path,
    folder: Path,
    *,
    format: Format,  # noqa: A002 - the word of the lock
    strip: int,
    largest: int,
    path: str,
    stop: threading.Event | None = None,
) -> dict[str, str]:
    """Unpacks `archive` into `folder`, which exists, is empty and nobody else's; the sha256 of each file written.

    The keys are relative POSIX paths, sorted. `strip` leading parts of each name are dropped, as by tar's
    --strip-components; a name with no part left is skipped. Hidden files (a part that begins with a dot, and macOS's
    `__MACOSX`) are no models and are left out. `largest` is the limit in bytes for all members together. A tar may be
    packed by gzip, xz or bzip2. `path` is the entry's, for messages.

    Raises ArchiveRefused; DiskFull; Stopped within a block after `stop` is set. `folder` is empty then.
    """
    target = _Target(folder, strip=strip, largest=largest, stop=stop or threading.Event())
    try:
        if format == "zip":
            _unpack_zip(archive, target)
        else:
            _unpack_tar(archive, target)
        if not target.files:
            raise _Refused(f"it holds no file below {strip} folders" if strip else "it holds no file")
        target.sync_folders()
    except BaseException as error:
        _clear(folder)
        if isinstance(error, _Refused):
            raise ArchiveRefused(path, str(error)) from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(folder), needed=target.declared - target.written, free=0) from None
        raise
    return dict(sorted(target.files.items()))


def largest_unpacked(archive: Path, format: Format, path: str) -> int | None:  # noqa: A002 - the word of the lock
    """Bytes that `archive` says it takes when unpacked; None for a tar, which does not say it in advance.

    `path` is the entry's, for messages. Raises ArchiveRefused if a zip's directory cannot be read.
    """
    if format == "tar":
        return None
    try:
        with opened_zip(archive) as opened:
            return sum(member.file_size for member in opened.infolist())
    except zipfile.BadZipFile as error:
        raise ArchiveRefused(path, _damaged(error)) from None


class _Target:
    """The folder that is filled: what may go there, what is there, and the limits of it all, in bytes."""

    def __init__(self, folder: Path, *, strip: int, largest: int, stop: threading.Event) -> None:
        self.folder = folder
        self.strip = strip
        self.largest = largest
        self.stop = stop
        self.files: dict[str, str] = {}
        self.declared = 0
        self.written = 0
        self._members = 0
        self._seen: dict[str, tuple[str, bool]] = {}

    def admit(self, name: str, *, size: int, is_folder: bool) -> str | None:
        """Where a member goes, or None if it is left out. Raises _Refused if name or size cannot be accepted."""
        self.check_stop()
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise _Refused(f"it has more than {MOST_MEMBERS} members")
        self.declared += size
        if size < 0 or self.declared > self.largest:
            raise _Refused(f"unpacked it takes more than the {self.largest} bytes that it may")
        relative = self._place(name)
        if relative is not None:
            self._claim(relative, is_file=not is_folder)
        return relative

    def make_folder(self, relative: str) -> None:
        """Makes a member's folder, and those above it."""
        folder = self.folder
        for part in relative.split("/"):
            folder /= part
            if not folder.is_dir():
                folder.mkdir(mode=0o755)

    def write(self, relative: str, source: IO[bytes], size: int) -> None:
        """Writes a member's file from `source`, which has to give exactly `size` bytes."""
        above, _, name = relative.rpartition("/")
        if above:
            self.make_folder(above)
        handle = os.open(self.folder / above / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        done, digest = 0, hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            while block := self._read(source):
                done += len(block)
                if done > size:
                    break
                file.write(block)
                digest.update(block)
                self.written += len(block)
            file.flush()
            os.fsync(file.fileno())
        if done != size:
            raise _Refused(f"it is damaged: {_shown(relative)} has not the {size} bytes that it should have")
        self.files[relative] = digest.hexdigest()

    def sync_folders(self) -> None:
        """Brings the names to the disk, as the contents are already."""
        for folder, _, _ in os.walk(self.folder):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            except OSError as error:
                # Some network file systems cannot sync a folder; its files are whole all the same.
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                    raise
            finally:
                os.close(handle)

    def check_stop(self) -> None:
        """Raises Stopped when it was asked for."""
        if self.stop.is_set():
            raise Stopped

    def _read(self, source: IO[bytes]) -> bytes:
        self.check_stop()
        with _reading():
            return source.read(CHUNK)

    def _place(self, name: str) -> str | None:
        # Tar counts the dot of ./a/b as a part, and two slashes as one.
        parts = re.split("/+", name.rstrip("/"))
        named = [part for part in parts if part != "."]
        if name and not named:
            return None
        try:
            remote_path("/".join(named))
            if re.match("[A-Za-z]:", name):
                raise ValueError("must not contain a drive letter")
            left = [part for part in parts[self.strip :] if part != "."]
            if not left or any(part.startswith(".") or part == "__MACOSX" for part in left):
                return None
            return safe_path("/".join(left))
        except UnicodeError:
            raise _Refused(f"the name of its member {_shown(name)} is not text") from None
        except ValueError as error:
            raise _Refused(f"the name of its member {_shown(name)} {error}") from None

    def _claim(self, relative: str, *, is_file: bool) -> None:
        """Remembers a name and the folders above it. Raises _Refused if one of them is somebody else's already."""
        parts = relative.split("/")
        if len(parts) > MOST_PARTS:
            raise _Refused(f"its member {_shown(relative)} lies more than {MOST_PARTS} folders deep")
        for depth in range(1, len(parts) + 1):
            whole = depth == len(parts)
            claimed = ("/".join(parts[:depth]), is_file and whole)
            before = self._seen.setdefault(folded(claimed[0]), claimed)
            if before is not claimed and (claimed[1] or before != claimed):
                raise _Refused(f"two of its members claim one name: {_shown(before[0])} and {_shown(relative)}")


def _unpack_zip(archive: Path, target: _Target) -> None:
    try:
        with opened_zip(archive) as opened:
            planned = [(member, _admit_zip(member, target)) for member in opened.infolist()]
            for member, relative in planned:
                if relative is not None and member.is_dir():
                    target.make_folder(relative)
                elif relative is not None:
                    with _reading():
                        source = opened.open(member)
                    with source:
                        target.write(relative, source, member.file_size)
    except zipfile.BadZipFile as error:
        raise _Refused(_damaged(error)) from None


def _admit_zip(member: zipfile.ZipInfo, target: _Target) -> str | None:
    # zipfile cuts `filename` at a NUL.
    name = member.orig_filename if "\0" in member.orig_filename else member.filename
    if member.flag_bits & _ZIP_ENCRYPTED:
        raise _Refused(f"its member {_shown(name)} is encrypted")
    if member.compress_type not in _ZIP_METHODS:
        raise _Refused(f"its member {_shown(name)} is compressed by a method that Python does not know")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _Refused(f"its member {_shown(name)} is a link or a device")
    return target.admit(name, size=member.file_size, is_folder=name.endswith("/"))


def _unpack_tar(archive: Path, target: _Target) -> None:
    with archive.open("rb") as packed, _unpacked(packed) as stream:
        source = _Forward(stream, target)
        with _reading():
            opened = tarfile.open(fileobj=source, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        with opened:
            while (member := _next(opened, source)) is not None:
                _unpack_member(opened, member, source, target)
        # tarfile takes a damaged header, or none, for the end; the real one is a block of zeros.
        if len(source.last) != tarfile.BLOCKSIZE or source.last.strip(b"\0"):
            raise _Refused("it is damaged or cut short: its end is missing")
        source.allowed = LONGEST_GAP
        with _reading():
            # The checksum of what gzip and its like have packed stands at their very end.
            while source.read(tarfile.BLOCKSIZE):
                pass


def _next(opened: tarfile.TarFile, source: "_Forward") -> tarfile.TarInfo | None:
    source.allowed = LONGEST_GAP
    # tarfile keeps every member that it has seen, for a random access that we do not need.
    opened.members = []  # type: ignore[attr-defined]
    with _reading():
        return opened.next()


def _unpack_member(opened: tarfile.TarFile, member: tarfile.TarInfo, source: "_Forward", target: _Target) -> None:
    if not member.isreg() and not member.isdir():
        raise _Refused(f"its member {_shown(member.name)} is a link or a device")
    relative = target.admit(member.name, size=member.size, is_folder=member.isdir())
    if relative is None:
        return
    if member.isdir():
        target.make_folder(relative)
        return
    with _reading():
        content = opened.extractfile(member)
    source.allowed = member.size
    if content is not None:
        with content:
            target.write(relative, content, member.size)


def _unpacked(packed: IO[bytes]) -> IO[bytes] | lzma.LZMAFile | bz2.BZ2File | gzip.GzipFile:
    """The tar in a file that may be packed, by its first bytes."""
    head = packed.read(6)
    packed.seek(0)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raise _Refused("it is packed by zstd, which this Python cannot unpack: use .tar.gz, .tar.xz or .zip")
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(packed)
    return packed


class _Forward(io.BufferedIOBase):
    """A tar that is read from front to end, never back, and no further than `allowed` bytes at a time.

    tarfile reads a header's names and attributes into memory whatever length they claim, and follows an offset that
    leads back for ever.
    """

    def __init__(self, stream: IO[bytes] | lzma.LZMAFile | bz2.BZ2File | gzip.GzipFile, target: _Target) -> None:
        self.stream = stream
        self.target = target
        self.allowed = LONGEST_GAP
        self.last = b""
        self.position = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads on. Raises ReadError beyond `allowed`."""
        if size is None or not 0 <= size <= self.allowed:
            raise tarfile.ReadError("a header is longer than any real one")
        self.allowed -= size
        self.last = self._read(size)
        return self.last

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Reads and forgets what lies before `offset`."""
        if whence != os.SEEK_SET or offset < self.position:
            raise tarfile.ReadError("a member lies before the one that precedes it")
        while self.position < offset and self._read(min(CHUNK, offset - self.position)):
            pass
        return self.position

    def _read(self, size: int) -> bytes:
        self.target.check_stop()
        block = self.stream.read(size)
        self.position += len(block)
        return block


@contextmanager
def _reading() -> Iterator[None]:
    """Turns what unpackers raise when they read nonsense into _Refused; the disk's own errors pass."""
    try:
        yield
    except _NONSENSE as error:
        raise _Refused(_damaged(error)) from None
    except OSError as error:
        # bz2 and gzip raise it for bad data, without a number.
        if error.errno is not None:
            raise
        raise _Refused(_damaged(error)) from None


def _damaged(error: Exception) -> str:
    return f"it is damaged or cut short ({str(error)[:200] or type(error).__name__})"


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:80]}…")


def _clear(folder: Path) -> None:
    for child in folder.iterdir():
        with suppress(OSError):
            child.unlink() if not child.is_dir() else shutil.rmtree(child)
