"""Unpacks a node's ZIP into a new folder, and nothing outside of it."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

MAX_FILES = 100_000
MAX_BYTES = 4 << 30


class ArchiveRefused(Exception):
    """The archive is damaged, too large, or would write where it may not."""


def unpack(archive: Path, tree: Path) -> None:
    """Unpacks the ZIP `archive` into the new folder `tree`. Raises ArchiveRefused, or OSError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > MAX_FILES or sum(member.file_size for member in members) > MAX_BYTES:
                raise ArchiveRefused("it holds more than a node may have")
            tree.mkdir()
            for member in members:
                _unpack_member(opened, member, tree)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ArchiveRefused(f"it is damaged, or no ZIP that can be read: {error}") from None


def _unpack_member(opened: zipfile.ZipFile, member: zipfile.ZipInfo, tree: Path) -> None:
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in name.parts[0]:
        raise ArchiveRefused(f"{member.filename!r} would leave the node's folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ArchiveRefused(f"{member.filename!r} is a link")
    target = tree / name
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile itself ends a member at the size that its header names, so that the sum above holds.
    with opened.open(member) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
