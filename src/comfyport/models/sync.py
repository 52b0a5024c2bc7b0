"""Carries a plan out: the volume gets what the lock asks for, and every step is told as an event."""

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from comfyport.errors import ComfyportError, DiskFull, ModelError
from comfyport.models import plan
from comfyport.models.access import Access
from comfyport.models.events import FileAdvanced, FileFailed, FileReady, FileStarted, Observer, shielded
from comfyport.models.lock import Entry, Source
from comfyport.models.plan import Action
from comfyport.models.volume import Volume

logger = logging.getLogger(__name__)

FILES_AT_ONCE = 4
CHUNK = 1 << 20
# A volume that is filled to the last byte breaks whatever writes to it next.
RESERVE_BYTES = 64 << 20


@dataclass(frozen=True)
class ModelResult:
    """What became of one entry; `bytes` is what crossed the network, `source` where it came from."""

    path: str
    state: Literal["ready", "downloaded", "failed"]
    bytes: int = 0
    seconds: float = 0.0
    source: str | None = None
    error: ComfyportError | None = None

    def as_json(self) -> dict[str, Any]:
        """The result as `models sync --json` shows it."""
        error = self.error and {"code": self.error.code, "message": self.error.message}
        return {
            "path": self.path,
            "state": self.state,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "source": self.source,
            "error": error,
        }


@dataclass(frozen=True)
class SyncResult:
    """What became of all entries, in the lock's order."""

    volume: Path
    seconds: float
    models: tuple[ModelResult, ...]

    @property
    def ok(self) -> bool:
        """Whether every entry is on the volume now."""
        return all(model.state != "failed" for model in self.models)

    def as_json(self) -> dict[str, Any]:
        """The document that `models sync --json` ends with."""
        return {
            "ok": self.ok,
            "volume": str(self.volume),
            "seconds": round(self.seconds, 3),
            "bytes_downloaded": sum(model.bytes for model in self.models),
            "models": [model.as_json() for model in self.models],
        }


class Sync:
    """Brings `entries` to `volume`.

    Setting `stop` ends the downloads under way.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        volume: Volume,
        access: Access,
        *,
        observe: Observer = lambda event: None,
        stop: threading.Event | None = None,
    ) -> None:
        self.entries = entries
        self.volume = volume
        self.access = access
        self.observe = shielded(observe)
        self.stop = stop or threading.Event()

    def run(self) -> SyncResult:
        """Makes a plan and carries it out; a file that fails does not keep the others.

        Raises VolumeUnusable, and DiskFull before the first byte when the volume is too small.
        """
        started = time.monotonic()
        made = plan.make(self.entries, state=self.volume.state, receipt=self.volume.receipt)
        for action in made.actions:
            if action.kind == "have":
                self._tell_ready(action.entry)
        if made.work:
            self.volume.prepare()
            self.volume.remove_stale_parts()
            self._check_space(made)
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="model") as pool:
            results = tuple(pool.map(self._carry_out, made.actions))
        return SyncResult(self.volume.root, time.monotonic() - started, results)

    def _check_space(self, made: plan.Plan) -> None:
        free = self.volume.free_bytes()
        if made.bytes_to_fetch and made.bytes_to_fetch + RESERVE_BYTES > free:
            raise DiskFull(str(self.volume.root), needed=made.bytes_to_fetch + RESERVE_BYTES, free=free)

    def _carry_out(self, action: Action) -> ModelResult:
        entry, started = action.entry, time.monotonic()
        if action.kind == "have":
            return ModelResult(entry.path, "ready")
        try:
            if action.kind == "unverified" and self._adopted(entry):
                return ModelResult(entry.path, "ready", seconds=time.monotonic() - started)
            transferred, source = self._download(entry)
        except (ComfyportError, OSError) as error:
            return self._failed(entry, error, time.monotonic() - started)
        return ModelResult(entry.path, "downloaded", transferred, time.monotonic() - started, source)

    def _adopted(self, entry: Entry) -> bool:
        """Reads a file that has no valid receipt; keeps it if it is what the lock names, or the lock does not say."""
        file = self.volume.file(entry.path)
        self.observe(FileStarted(entry.path, entry.size))
        digest = digest_of(file)
        if entry.sha256 and digest != entry.sha256:
            logger.warning("model path=%s differs from the lock and is fetched anew", entry.path)
            return False
        self.volume.write_receipt(entry.path, sha256=digest, source="found on the volume")
        self._tell_ready(entry)
        return True

    def _download(self, entry: Entry) -> tuple[int, str]:
        """Fetches `entry` from the first source that gives it; the bytes transferred, and from where."""
        problems: list[ComfyportError] = []
        for source in entry.sources:
            try:
                return self._download_from(entry, source)
            except DiskFull:
                raise
            except ComfyportError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        raise ModelError("\n".join(problem.message for problem in problems), path=entry.path)

    def _download_from(self, entry: Entry, source: Source) -> tuple[int, str]:
        # Here and not above: a warm start needs none of these, and they take longer to load than all it does.
        import requests

        from comfyport.models.sources import request_for
        from comfyport.models.transfer import Transfer, Wanted

        request = request_for(source, self.access)
        part = self.volume.new_part(entry.path)
        self.observe(FileStarted(entry.path, entry.size))
        try:
            with requests.Session() as session:
                fetched = Transfer(
                    request,
                    Wanted(entry.path, entry.size, entry.sha256),
                    part,
                    session=session,
                    advance=lambda done: self.observe(FileAdvanced(entry.path, done)),
                    stop=self.stop,
                ).run()
            self.volume.publish(part, entry.path)
            self.volume.write_receipt(entry.path, sha256=fetched.sha256, source=request.shown)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        self._tell_ready(entry)
        return fetched.transferred, request.shown

    def _tell_ready(self, entry: Entry) -> None:
        state = self.volume.state(entry.path)
        self.observe(FileReady(entry.path, state.size if state else 0))

    def _failed(self, entry: Entry, problem: Exception, seconds: float) -> ModelResult:
        error = problem if isinstance(problem, ComfyportError) else ModelError(f"{entry.path}: {problem}")
        self.observe(FileFailed(entry.path, error.code, error.message))
        return ModelResult(entry.path, "failed", seconds=seconds, error=error)


def digest_of(file: Path) -> str:
    """The sha256 of a file, 64 lower hex digits."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def verify(entries: Sequence[Entry], volume: Volume, *, full: bool) -> list[tuple[Entry, str]]:
    """The entries that are not as the lock says, each with the reason; `full` reads every byte.

    Entries without a sha256 in the lock are held against their receipt.
    """
    problems: list[tuple[Entry, str]] = []
    made = plan.make(entries, state=volume.state, receipt=volume.receipt)
    for action in made.actions:
        if action.kind != "have":
            problems.append((action.entry, action.reason or action.kind))
            continue
        receipt = volume.receipt(action.entry.path)
        if full and receipt and digest_of(volume.file(action.entry.path)) != receipt.sha256:
            problems.append((action.entry, "its bytes are not those of its receipt"))
    return problems
