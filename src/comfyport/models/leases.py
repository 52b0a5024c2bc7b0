"""Who fetches what: leases keep the containers of one volume from fetching the same file at the same time.

    <leases>/<key>.json    who has the lease; the file's mtime is the heartbeat
    <leases>/<id>.taken    a lease on its way out, and
    <leases>/<id>.clock    a file that tells the mount's time; both stay only if a process dies in that moment

A lease saves bandwidth, no more: every download is right without it, so that whatever goes wrong here ends in "go
ahead". O_CREAT|O_EXCL is atomic on NFS too (version 3 and later), while flock is granted to everybody at once on some
network disks. The clocks of two machines differ, so that a heartbeat's age is measured by the mount's own clock.
"""

import errno
import hashlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from comfyport.models.owner import Owner

logger = logging.getLogger(__name__)

MAX_BYTES = 64 << 10
# Each round either wins, finds somebody living, or was overtaken by another process that did.
ROUNDS = 5
# Between the making of a lease file and the writing of its owner lie milliseconds; nobody stands behind an older one.
BIRTH_SECONDS = 2.0


class Lease:
    """The right to fetch one file, until `release` or the end of `with`.

    `lost` becomes true when a heartbeat finds that somebody else has taken the lease over.
    """

    def __init__(self, file: Path | None, content: bytes, forget: Callable[["Lease"], None]) -> None:
        """`file` is None for a lease that could not be written down and is treated as ours."""
        self.lost = False
        self._file = file
        self._content = content
        self._forget = forget
        # A heartbeat must not bring back the file of a lease that is being released.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Gives the lease back; a second time, or one that was lost, changes nothing."""
        self._forget(self)
        with self._lock:
            file, self._file = self._file, None
            if file is None or self.lost:
                return
            with suppress(OSError):
                found = _read(file)
                if found and found.content == self._content:
                    _take_away(file, found)

    def beat(self) -> None:
        """Shows that the owner lives. Raises OSError when the disk does not take it."""
        with self._lock:
            if self._file is None or self.lost:
                return
            try:
                self.lost = not _touch(self._file, self._content)
            except FileNotFoundError:
                # Somebody tidied up, or looks at it aside for a moment: it is ours as long as no other stands there.
                _create(self._file, self._content)


class Leases:
    """The leases in one folder. Keys are safe file names: a sha256, or a path with its slashes replaced."""

    def __init__(self, folder: Path, *, heartbeat_seconds: float = 5.0, stale_seconds: float = 20.0) -> None:
        self.folder = folder
        self.heartbeat_seconds = heartbeat_seconds
        self.stale_seconds = stale_seconds
        self._held: set[Lease] = set()
        self._changed = threading.Condition()
        self._heart: threading.Thread | None = None
        self._seen: dict[str, tuple[_Found, float]] = {}
        self._warned = False

    def take(self, key: str) -> Lease | None:
        """The lease for `key`; None if somebody living has it. Where leases do not work, everybody gets one."""
        content = json.dumps({"id": uuid.uuid4().hex, "owner": Owner.me().as_json()}).encode()
        file = self.folder / f"{key}.json"
        try:
            if not self._win(file, content):
                return None
        except OSError as error:
            self._warn(error)
            return Lease(None, content, self._forget)
        lease = Lease(file, content, self._forget)
        self._hold(lease)
        return lease

    def remove_stale(self, *, dry_run: bool = False) -> list[str]:
        """Removes the leases of nobody, and what processes that died have left; the names of those files."""
        removed: list[str] = []
        try:
            for file in sorted(self.folder.iterdir()):
                found = _read(file) if file.suffix in (".json", ".taken", ".clock") else None
                if found and self._abandoned(file, found) and (dry_run or _take_away(file, found)):
                    removed.append(file.name)
        except OSError as error:
            self._warn(error)
        return removed

    def _win(self, file: Path, content: bytes) -> bool:
        for _ in range(ROUNDS):
            if _create(file, content):
                return True
            found = _read(file)
            if found is None:
                continue
            if not self._abandoned(file, found):
                return False
            if _take_away(file, found):
                logger.info("lease taken over name=%s owner=%s", file.name, found.owner)
        return False

    def _abandoned(self, file: Path, found: "_Found") -> bool:
        """Whether nobody stands behind a lease: its owner is known dead, or its heartbeat has stopped."""
        if found.owner and found.owner.is_dead():
            return True
        patience = self.stale_seconds if found.owner else min(self.stale_seconds, BIRTH_SECONDS)
        if (_mount_time_ns(self.folder) - found.mtime_ns) / 1e9 > patience:
            return True
        # A heartbeat from the future, of a machine whose clock is wrong, would never age: so we watch it stand still.
        seen, since = self._seen.get(file.name, (None, 0.0))
        if seen != found:
            self._seen[file.name] = (found, time.monotonic())
            return False
        return time.monotonic() - since > patience

    def _hold(self, lease: Lease) -> None:
        with self._changed:
            self._held.add(lease)
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._heart.start()

    def _forget(self, lease: Lease) -> None:
        with self._changed:
            self._held.discard(lease)
            self._changed.notify_all()

    def _beat(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._held, self.heartbeat_seconds)
                if not self._held:
                    self._heart = None
                    return
                held = list(self._held)
            for lease in held:
                try:
                    lease.beat()
                except OSError as error:
                    self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("leases do not work, files may be fetched twice folder=%s error=%s", self.folder, error)


@dataclass(frozen=True)
class _Found:
    """A lease file as it was read: its bytes, and its heartbeat in ns."""

    content: bytes
    mtime_ns: int

    @property
    def owner(self) -> Owner | None:
        """Who has the lease; None if the file does not tell, as while it is being written."""
        try:
            return Owner.from_json(json.loads(self.content)["owner"])
        except (ValueError, KeyError, TypeError):
            return None


def _create(file: Path, content: bytes) -> bool:
    """Makes a lease file; False if there is one. Raises OSError and leaves none."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        try:
            os.write(handle, content)
        finally:
            os.close(handle)
    except OSError:
        with suppress(OSError):
            file.unlink()
        raise
    return True


def _read(file: Path) -> _Found | None:
    """A lease file, None if there is none. Opened first, because NFS tells old times of a file that is not."""
    try:
        handle = os.open(file, os.O_RDONLY)
        try:
            return _Found(os.read(handle, MAX_BYTES), os.fstat(handle).st_mtime_ns)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise


def _touch(file: Path, content: bytes) -> bool:
    """Renews the heartbeat of a lease file; False if it is another's. Raises OSError."""
    handle = os.open(file, os.O_RDONLY)
    try:
        found = os.read(handle, MAX_BYTES)
        if found == content:
            os.utime(handle)
        # An empty one is being written at this moment: the next heartbeat will tell.
        return found in (content, b"")
    finally:
        os.close(handle)


def _take_away(file: Path, judged: _Found) -> bool:
    """Removes a lease file if it still is the one that was `judged`; of many that try, one succeeds."""
    # Named after what was judged, so that two who judged the same lease cannot both go on from here.
    aside = file.with_name(f"{hashlib.sha256(judged.content).hexdigest()}.taken")
    if not _create(aside, b""):
        _remove_left(aside)
        return False
    try:
        if _read(file) != judged:
            aside.unlink(missing_ok=True)
            return False
        file.rename(aside)
    except FileNotFoundError:
        aside.unlink(missing_ok=True)
        return False
    moved = _read(aside)
    if moved and moved != judged:
        # Its owner has come back to life in the meantime: it goes back, unless somebody new has it by now.
        _put_back(aside, file, moved.content)
    aside.unlink(missing_ok=True)
    return moved == judged


def _remove_left(aside: Path) -> None:
    """Removes the empty file of a process that died while it took a lease away."""
    left = _read(aside)
    if left and not left.content and (_mount_time_ns(aside.parent) - left.mtime_ns) / 1e9 > BIRTH_SECONDS:
        aside.unlink(missing_ok=True)


def _put_back(aside: Path, file: Path, content: bytes) -> None:
    """Gives a lease file its name again, if nobody else has it."""
    try:
        # The same file, since its owner may be in the midst of writing to it.
        file.hardlink_to(aside)
    except FileExistsError:
        return
    except OSError:
        _create(file, content)


def _mount_time_ns(folder: Path) -> int:
    """What time it is on the mount of `folder`, in ns. Raises OSError."""
    file = folder / f"{uuid.uuid4().hex}.clock"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        # By the same call as a heartbeat: some mounts take their own time for new files and the caller's here.
        os.utime(handle)
        return os.fstat(handle).st_mtime_ns
    finally:
        os.close(handle)
        file.unlink(missing_ok=True)
