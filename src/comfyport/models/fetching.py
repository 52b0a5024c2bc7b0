"""Brings one entry of the lock to its place: linked, adopted, or fetched from the first source that gives it."""

import errno
import os
import shutil
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from comfyport.errors import ComfyportError, DiskFull, InvalidSetting, ModelError, SourceFailed, VolumeUnusable
from comfyport.models import formats
from comfyport.models.access import Access
from comfyport.models.engine import Engine
from comfyport.models.events import FileAdvanced, FileStarted, Observer, Stopped
from comfyport.models.lock import Archive, Entry, Source
from comfyport.models.owner import Owner
from comfyport.models.parts import PartFile, open_part
from comfyport.models.paths import no_links_on_the_way
from comfyport.models.probe import Remote, TryLater, Wanted, failed, probe
from comfyport.models.sources import Request, request_for
from comfyport.models.transfer import Fetched, Patience, Transfer
from comfyport.models.volume import Member, Volume
from comfyport.models.wire import Wire

# An archive that unpacks to more than this times its size is a bomb.
LARGEST_RATIO = 100
# What a disk says that has no more room, and one that was taken away or switched to read-only.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_GONE = frozenset({errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE})


@dataclass(frozen=True)
class Brought:
    """What was fetched: bytes that crossed the network, and the source as it may be shown."""

    transferred: int
    source: str


class Fetcher:
    """Fetches entries to `volume` over the connections of one engine."""

    def __init__(
        self,
        volume: Volume,
        access: Access,
        *,
        connections: int,
        observe: Observer,
        stop: threading.Event,
        patience: Patience,
    ) -> None:
        self.volume = volume
        self.access = access
        self.observe = observe
        self.stop = stop
        self.patience = patience
        self.owner = Owner.me()
        self.engine = Engine(connections, stop, patience)

    def bring(self, entry: Entry) -> Brought:
        """Fetches, verifies and publishes an entry. Raises ModelError, InvalidSetting or Stopped."""
        problems: list[ComfyportError] = []
        part = self._open_part(entry)
        self.observe(FileStarted(entry.path, entry.size, part.bytes_there))
        try:
            for source in entry.sources:
                try:
                    return self._from_source(entry, source, request_for(source, self.access), part)
                except (DiskFull, VolumeUnusable):
                    raise
                except ComfyportError as error:
                    problems.append(error)
                    # What has come is right as far as it goes, unless it is the bytes that were refused.
                    part.reload() if isinstance(error, (SourceFailed, InvalidSetting)) else part.forget()
            if not part.bytes_there:
                part.remove()
        except OSError as error:
            raise self._disk_error(error, entry) from None
        finally:
            part.close()
            # Without a sha256 nobody can say whether what is there belongs to what will come.
            if entry.sha256 is None:
                part.remove()
        if len(problems) == 1:
            raise problems[0]
        raise ModelError("\n".join(problem.message for problem in problems), path=entry.path)

    def _from_source(self, entry: Entry, source: Source, request: Request, part: PartFile) -> Brought:
        wanted = Wanted(entry.path, entry.size, entry.sha256)
        remote = self._locate(request, wanted)
        transfer = Transfer(
            request,
            wanted,
            part,
            remote=remote,
            locate=lambda: self._probe_once(request, wanted),
            advance=lambda done: self.observe(FileAdvanced(entry.path, done)),
            patience=self.patience,
        )
        fetched = self._run(transfer)
        if not fetched.size and wanted.size != 0:
            raise failed(request, wanted, "it is empty")
        if entry.sha256 is None:
            formats.check(part.data, entry.path)
        self._publish(entry, part, fetched, request)
        return Brought(fetched.transferred, request.shown)

    def _run(self, transfer: Transfer) -> Fetched:
        self.engine.add(transfer)
        try:
            return transfer.wait(self.stop)
        finally:
            self.engine.drop(transfer)

    def _publish(self, entry: Entry, part: PartFile, fetched: Fetched, request: Request) -> None:
        if entry.archive:
            members = self._unpack(entry, entry.archive, part.data)
            self.volume.write_receipt(entry.path, sha256=fetched.sha256, source=request.shown, members=members)
        else:
            self.volume.publish(part.data, entry.path)
            self.volume.write_receipt(entry.path, sha256=fetched.sha256, source=request.shown)
        part.remove()

    def _unpack(self, entry: Entry, how: Archive, file: Path) -> tuple[Member, ...]:
        # Here and not above: few locks have an archive, and the readers take a while to load.
        from comfyport.models import archive

        largest = file.stat().st_size * LARGEST_RATIO
        needed = archive.largest_unpacked(file, how.format, entry.path) or 0
        free = self.volume.free_bytes()
        if free is not None and free < needed <= largest:
            raise DiskFull(str(self.volume.root), needed=needed, free=free)
        folder = self.volume.parts / f"unpacked.{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            digests = archive.unpack(
                file,
                folder,
                format=how.format,
                strip=how.strip,
                largest=largest,
                path=entry.path,
                stop=self.stop,
            )
            for name in digests:
                no_links_on_the_way(self.volume.root, f"{how.into}/{name}")
            return tuple(
                self._publish_member(folder / name, f"{how.into}/{name}", digest) for name, digest in digests.items()
            )
        except DiskFull as full:
            raise DiskFull(str(self.volume.root), needed=full.details["needed"], free=0) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _publish_member(self, file: Path, path: str, sha256: str) -> Member:
        self.volume.publish(file, path)
        status = self.volume.file(path).stat()
        return Member(path, status.st_size, status.st_mtime_ns, sha256)

    def _locate(self, request: Request, wanted: Wanted) -> Remote:
        """Finds the file at its source, with patience."""

        def pause(state: RetryCallState) -> float:
            problem = state.outcome.exception() if state.outcome else None
            asked = problem.after if isinstance(problem, TryLater) else 0.0
            return max(self.patience.pause(state.attempt_number), min(asked, self.patience.longest_retry_after))

        def sleep(seconds: float) -> None:
            if self.stop.wait(seconds):
                raise Stopped

        retrying = Retrying(
            retry=retry_if_exception_type(TryLater),
            stop=stop_after_attempt(self.patience.attempts),
            wait=pause,
            sleep=sleep,
            reraise=True,
        )
        try:
            return retrying(self._probe_once, request, wanted)
        except TryLater as problem:
            reason = f"{problem.reason}; gave up after {self.patience.attempts} attempts"
            raise failed(request, wanted, reason) from None

    def _probe_once(self, request: Request, wanted: Wanted) -> Remote:
        wire = Wire(self.patience.silence)
        try:
            return probe(request, wanted, wire)
        finally:
            wire.close()

    def _open_part(self, entry: Entry) -> PartFile:
        try:
            return open_part(self.volume.parts, entry.sha256, self.owner)
        except OSError as error:
            raise self._disk_error(error, entry) from None

    def _disk_error(self, error: OSError, entry: Entry) -> ComfyportError:
        if error.errno in _FULL:
            return DiskFull(str(self.volume.root), needed=entry.size or 0, free=0)
        if error.errno in _GONE:
            return VolumeUnusable(str(self.volume.root), os.strerror(error.errno or 0).lower())
        if not self.volume.parts.is_dir():
            return VolumeUnusable(str(self.volume.root), "it went away during the download")
        return ModelError(f"{entry.path} could not be written to {self.volume.root}: {error}", path=entry.path)
