"""Carries a plan out: the volume gets what the lock asks for, and every step is told as an event."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from comfyport.errors import ComfyportError, DiskFull, ModelError
from comfyport.models import caches, plan
from comfyport.models.access import Access
from comfyport.models.events import FileAdvanced, FileFailed, FileReady, FileStarted, Observer, Stopped, shielded
from comfyport.models.lock import Entry
from comfyport.models.paths import no_links_on_the_way
from comfyport.models.verify import digest_of
from comfyport.models.volume import Volume

logger = logging.getLogger(__name__)

# More than one, so that one file's hash and another's download do not wait for each other; few, so that the first
# files of the lock are whole first.
FILES_AT_ONCE = 3
CONNECTIONS = 16
# A volume that is filled to the last byte breaks whatever writes to it next.
RESERVE_BYTES = 64 << 20
LEASE_POLL_SECONDS = 0.25

ModelState = Literal["ready", "downloaded", "linked", "failed"]


@dataclass(frozen=True)
class ModelResult:
    """What became of one entry; `bytes` is what crossed the network, `source` where it came from."""

    path: str
    state: ModelState
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


@dataclass
class _Queue:
    """The entries that still have to be brought, in the order in which they are begun."""

    entries: list[Entry]
    preferred: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, entries: Sequence[Entry]) -> None:
        """Puts all entries in line; what was preferred before that comes first too."""
        with self.lock:
            self.entries[:] = entries
            self._sort()

    def prefer(self, names: set[str]) -> None:
        """Moves the files with these names to the front."""
        with self.lock:
            self.preferred = names
            self._sort()

    def _sort(self) -> None:
        self.entries.sort(key=lambda entry: entry.name.rsplit("/", 1)[-1] not in self.preferred)

    def snapshot(self) -> list[Entry]:
        """The entries as they stand in line now."""
        with self.lock:
            return list(self.entries)

    def remove(self, entry: Entry) -> bool:
        """Takes an entry out; False if another thread was faster."""
        with self.lock:
            if entry not in self.entries:
                return False
            self.entries.remove(entry)
            return True


class Sync:
    """Brings `entries` to `volume`.

    `hubs` are Hugging Face caches that the platform has mounted. Setting `stop` ends the downloads under way; `prefer`
    moves files to the front while it runs.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        volume: Volume,
        access: Access,
        *,
        hubs: Sequence[Path] = (),
        connections: int = CONNECTIONS,
        observe: Observer = lambda event: None,
        stop: threading.Event | None = None,
        patience: Any = None,
    ) -> None:
        self.entries = entries
        self.volume = volume
        self.access = access
        self.hubs = hubs
        self.connections = connections
        self.observe = shielded(observe)
        self.stop = stop or threading.Event()
        self._patience = patience
        self._queue = _Queue([])
        self._results: dict[str, ModelResult] = {}
        self._interrupted: BaseException | None = None

    def prefer(self, names: set[str]) -> None:
        """Brings the files with these names next: a job waits for them."""
        self._queue.prefer(names)

    def run(self) -> SyncResult:
        """Makes a plan and carries it out; a file that fails does not keep the others.

        Raises VolumeUnusable, DiskFull before the first byte when the volume is too small, and Stopped.
        """
        started = time.monotonic()
        made = plan.make(self.entries, state=self.volume.state, receipt=self.volume.receipt)
        for action in made.actions:
            if action.kind == "have":
                self._note(action.entry, "ready")
        if made.work:
            self.volume.prepare()
            self._carry_out(made)
        results = tuple(self._results[entry.path] for entry in self.entries)
        return SyncResult(self.volume.root, time.monotonic() - started, results)

    def _carry_out(self, made: plan.Plan) -> None:
        # Here and not above: a warm start needs none of these, and they take longer to load than all that it does.
        from comfyport.models.fetching import Fetcher
        from comfyport.models.leases import Leases
        from comfyport.models.parts import bytes_there
        from comfyport.models.transfer import Patience

        # What is there without a receipt may be the user's own: it is read first, and kept if it is right.
        left = [action for action in made.work if action.kind == "unverified" or not self._cached(action.entry)]
        digests = [action.entry.sha256 for action in left if action.entry.sha256]
        have = [action for action in made.actions if action.kind == "have"]
        self._check_space(plan.Plan((*have, *left)).bytes_to_fetch - bytes_there(self.volume.parts, digests))
        self._queue.fill([action.entry for action in left])
        fetcher = Fetcher(
            self.volume,
            self.access,
            connections=self.connections,
            observe=self.observe,
            stop=self.stop,
            patience=self._patience or Patience(),
        )
        leases = Leases(self.volume.leases)
        count = min(FILES_AT_ONCE, len(left))
        threads = [
            threading.Thread(target=self._work, args=(fetcher, leases), name=f"model-{number}")
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._interrupted:
            raise self._interrupted
        if self.stop.is_set():
            raise Stopped

    def _check_space(self, needed: int) -> None:
        free = self.volume.free_bytes()
        if free is not None and needed > 0 and needed + RESERVE_BYTES > free:
            raise DiskFull(str(self.volume.root), needed=needed + RESERVE_BYTES, free=free)

    def _cached(self, entry: Entry) -> bool:
        """Whether the platform has mounted a cache with the file in it: then it is linked, or has failed to be."""
        started = time.monotonic()
        with self._failing(entry, started):
            cached = caches.find(entry, self.hubs) if not entry.archive else None
            if cached is None:
                return False
            no_links_on_the_way(self.volume.root, entry.path)
            self._link(entry, cached, f"the cache at {cached.parent}")
            self._note(entry, "linked", started=started, source=str(cached))
        return True

    def _adopted(self, entry: Entry) -> bool:
        """Reads a file that has no valid receipt; keeps it if it is what the lock names, or the lock does not say."""
        self.observe(FileStarted(entry.path, entry.size))
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            if self.stop.is_set():
                raise Stopped
            done += count
            self.observe(FileAdvanced(entry.path, done))

        digest = digest_of(self.volume.file(entry.path), advance)
        if entry.sha256 and digest != entry.sha256:
            logger.warning("model path=%s differs from the lock and is fetched anew", entry.path)
            return False
        self.volume.write_receipt(entry.path, sha256=digest, source="found on the volume")
        return True

    def _work(self, fetcher: Any, leases: Any) -> None:
        """One of a few threads: brings one entry after the other, those first that nobody else is bringing."""
        try:
            while waiting := self._queue.snapshot():
                for entry in waiting:
                    if self._brought_with_lease(entry, fetcher, leases):
                        break
                else:
                    if self.stop.wait(LEASE_POLL_SECONDS):
                        return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that called `run`
            self._interrupted = self._interrupted or error
            self.stop.set()

    def _brought_with_lease(self, entry: Entry, fetcher: Any, leases: Any) -> bool:
        """Whether the entry is settled: brought by this thread, or found to be there. False: another has the lease."""
        lease = leases.take(entry.sha256 or entry.path.replace("/", "--"))
        if lease is None:
            return False
        with lease:
            if self._queue.remove(entry):
                self._bring(entry, fetcher)
        return True

    def _bring(self, entry: Entry, fetcher: Any) -> None:
        started = time.monotonic()
        with self._failing(entry, started):
            no_links_on_the_way(self.volume.root, f"{entry.archive.into}/x" if entry.archive else entry.path)
            (action,) = plan.make([entry], state=self.volume.state, receipt=self.volume.receipt).actions
            if action.kind == "have" or (action.kind == "unverified" and self._adopted(entry)):
                self._note(entry, "ready", started=started)
            elif twin := self._twin(entry):
                self._link(entry, self.volume.file(twin), f"the same file at {twin}")
                self._note(entry, "linked", started=started, source=twin)
            elif action.kind != "unverified" or not self._cached(entry):
                brought = fetcher.bring(entry)
                self._note(entry, "downloaded", started=started, source=brought.source, size=brought.transferred)

    @contextmanager
    def _failing(self, entry: Entry, started: float) -> Iterator[None]:
        """Makes what goes wrong with one entry its result."""
        try:
            yield
        except ComfyportError as error:
            self._fail(entry, error, started)
        except OSError as error:
            self._fail(entry, ModelError(f"{entry.path}: {error}", path=entry.path), started)

    def _twin(self, entry: Entry) -> str | None:
        """Another entry's path with the same content, if it is on the volume."""
        for other in self.entries:
            if other.path != entry.path and entry.sha256 and other.sha256 == entry.sha256 and not other.archive:
                (action,) = plan.make([other], state=self.volume.state, receipt=self.volume.receipt).actions
                if action.kind == "have" and not entry.archive:
                    return other.path
        return None

    def _link(self, entry: Entry, target: Path, source: str) -> None:
        self.volume.link(entry.path, target)
        self.volume.write_receipt(entry.path, sha256=entry.sha256 or digest_of(target), source=source)

    def _note(
        self, entry: Entry, state: ModelState, *, started: float | None = None, source: str | None = None, size: int = 0
    ) -> None:
        seconds = time.monotonic() - started if started else 0.0
        self._results[entry.path] = ModelResult(entry.path, state, size, seconds, source)
        there = self.volume.state(entry.path)
        self.observe(FileReady(entry.path, there.size if there else entry.size or 0))

    def _fail(self, entry: Entry, error: ComfyportError, started: float) -> None:
        self._results[entry.path] = ModelResult(entry.path, "failed", 0, time.monotonic() - started, error=error)
        self.observe(FileFailed(entry.path, error.code, error.message))
