"""One file on its way: which pieces are missing, who fetches them, how far it is whole and hashed.

Connections (see `engine.py`) take pieces and write them where they belong; the thread that wants the file hashes it in
order while they arrive, reading back from the page cache, so that the digest is there when the last byte is. Anything
may break and is then asked for again; what counts against the budget is only a round that brought nothing.
"""

import hashlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from comfyport.errors import SourceChanged, WrongDigest, WrongSize
from comfyport.models.events import Stopped
from comfyport.models.parts import PartFile, Span
from comfyport.models.probe import Remote, TryLater, Wanted, failed
from comfyport.models.sources import Request

# Large enough that a request costs nothing, small enough that all connections end together.
LARGEST_PIECE = 16 << 20
SMALLEST_PIECE = 1 << 20
# Small enough to be hashed out of the processor's own cache.
HASH_BLOCK = 256 << 10
# Dirty pages are written out while the network works, so that little is left for the end.
FLUSH_BYTES = 256 << 20
# A piece that is worth more than this is shared with a connection that has nothing left to do.
SPLIT_BYTES = 4 << 20
RENEWALS = 3
# How often a file with a wrong digest is fetched anew: a small one costs little, a large one once.
REFETCHES = 3
SMALL_BYTES = 64 << 20


@dataclass(frozen=True)
class Patience:
    """How long we wait, in seconds, and how often we try without any progress."""

    attempts: int = 8
    first_pause: float = 0.5
    longest_pause: float = 30.0
    longest_retry_after: float = 300.0
    silence: float = 20.0
    slowest_rate: float = 8 << 10

    def pause(self, failures: int) -> float:
        """The pause after so many failures in a row: doubling, with full jitter."""
        longest = min(self.longest_pause, self.first_pause * 2 ** (failures - 1))
        return random.uniform(longest / 2, longest)  # noqa: S311 - to spread load, not to keep a secret


@dataclass
class Piece:
    """A span of the file that one connection fetches: from `start` to `end`, of which up to `at` is there."""

    start: int
    end: int | None
    at: int = field(init=False)
    taken: bool = False
    taken_at: float = 0.0
    remote: Remote | None = None
    dropped: bool = False

    def __post_init__(self) -> None:
        self.at = self.start

    @property
    def done(self) -> bool:
        """Whether all of it is there."""
        return self.end is not None and self.at >= self.end


@dataclass(frozen=True)
class Fetched:
    """What a download was: bytes in all, bytes that crossed the network, sha256."""

    size: int
    transferred: int
    sha256: str


class Transfer:
    """The state of one download, shared by the connections that work on it.

    `locate` finds the file at its source (and may be asked again, when a signed address has expired); `advance` hears
    how many bytes are there. All methods may be called from any thread.
    """

    def __init__(
        self,
        request: Request,
        wanted: Wanted,
        part: PartFile,
        *,
        remote: Remote,
        locate: Callable[[], Remote],
        advance: Callable[[int], None],
        patience: Patience,
    ) -> None:
        self.request = request
        self.wanted = wanted
        self.part = part
        self.patience = patience
        self.remote = remote
        self.size = remote.size if remote.size is not None else wanted.size
        self.transferred = 0
        self.error: Exception | None = None
        self.not_before = 0.0
        self._locate = locate
        self._advance = advance
        self._failures = 0
        self._failed_at = 0.0
        self._renewals = 0
        self._renewed_at_bytes = 0
        self._wrong_digests = 0
        self._beginnings = 0
        self._renewing = threading.Lock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pieces: list[Piece] = []
        self._first_open = 0
        self._there = 0
        self._lay_out(part.spans)

    def take(self, now: float) -> Piece | None:
        """A piece that nobody works on, or the second half of a large one; None if there is none, or not yet."""
        with self._lock:
            if self.error or now < self.not_before:
                return None
            piece = self._free_piece() or self._split(now)
            if piece:
                piece.taken, piece.taken_at, piece.remote = True, now, self.remote
            return piece

    def put(self, piece: Piece, content: memoryview) -> bool:
        """Writes what has arrived for a piece; False when no more of it is wanted. Raises OSError."""
        if piece.end is not None:
            content = content[: piece.end - piece.at]
        if not self.part.write(content, piece.at):
            return False
        with self._changed:
            if piece.dropped:
                return False
            piece.at += len(content)
            self.transferred += len(content)
            self._there += len(content)
            if self.remote.ranged:
                self._failures = 0
            if self._whole_up_to_piece(piece):
                self._changed.notify_all()
        self._advance(self._there)
        return not piece.done

    def give_back(self, piece: Piece, problem: TryLater | None = None) -> None:
        """Ends the work on a piece, whether it is done or not; `problem` says why it is not."""
        with self._changed:
            piece.taken = False
            if piece.dropped:
                return
            if problem and not self.remote.ranged:
                self._start_over()
            # Connections that fail together, or that began before the last failure, are one failure.
            if problem and piece.taken_at >= self._failed_at:
                self._failures += 1
                self._failed_at = time.monotonic()
                pause = max(self.patience.pause(self._failures), min(problem.after, self.patience.longest_retry_after))
                self.not_before = self._failed_at + pause
                if self._failures >= self.patience.attempts:
                    reason = f"{problem.reason}; gave up after {self._failures} attempts without progress"
                    self.error = failed(self.request, self.wanted, reason)
            self._changed.notify_all()

    def ended(self, piece: Piece) -> None:
        """A piece without a known end came to the end of what the server sends."""
        with self._changed:
            piece.end = self.size = piece.at
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Ends the whole download."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()

    def renew(self, used: Remote | None) -> None:
        """Asks the source for the address anew, unless that was done since `used`. Raises TryLater or ModelError."""
        # Not the lock of the pieces: those that arrive do not wait for the network.
        with self._renewing:
            if used is not self.remote:
                return
            self._renewals = 1 if self.transferred > self._renewed_at_bytes else self._renewals + 1
            self._renewed_at_bytes = self.transferred
            if self._renewals > RENEWALS:
                raise failed(self.request, self.wanted, "the address that the source gives is refused again and again")
            remote = self._locate()
            if (remote.size, remote.etag) != (self.remote.size, self.remote.etag) and self.wanted.sha256 is None:
                raise SourceChanged(self.wanted.path, source=self.request.shown)
            self.remote = remote

    def become_single(self) -> None:
        """The server does not keep to ranges: one connection fetches the file from its beginning."""
        with self._changed:
            if self.remote.ranged:
                self.remote = Remote(self.remote.url, self.remote.headers, self.remote.size, "", ranged=False)
                self._start_over()

    def wait(self, stop: threading.Event) -> Fetched:
        """Hashes the file in order while it arrives, until it is whole and right. Raises ModelError or Stopped."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(HASH_BLOCK))
        hashed = flushed = beginning = 0
        while True:
            whole, complete, beginnings = self._await_growth(hashed, beginning, stop)
            if beginnings != beginning:
                digest, hashed, flushed, beginning = hashlib.sha256(), 0, 0, beginnings
                continue
            while hashed < whole and not stop.is_set():
                count = self.part.read(buffer[: min(HASH_BLOCK, whole - hashed)], hashed)
                digest.update(buffer[:count])
                hashed += count
            if complete and hashed == whole:
                break
            if hashed - flushed >= FLUSH_BYTES:
                self.part.flush()
                flushed = hashed
        if self._is_right(hashed, digest.hexdigest()):
            self.part.flush()
            return Fetched(hashed, self.transferred, digest.hexdigest())
        with self._changed:
            self._start_over()
        return self.wait(stop)

    def _is_right(self, size: int, digest: str) -> bool:
        """Whether it is what was wanted; False to try from the beginning. Raises WrongSize or WrongDigest.

        Bytes that were damaged on the way are worth another try; a large file that is wrong twice is another file.
        """
        if self.wanted.size is not None and size != self.wanted.size:
            raise WrongSize(self.wanted.path, expected=self.wanted.size, actual=size, source=self.request.shown)
        if self.wanted.sha256 is None or digest == self.wanted.sha256:
            return True
        self._wrong_digests += 1
        if self._wrong_digests > (REFETCHES if size <= SMALL_BYTES else 1):
            raise WrongDigest(self.wanted.path, expected=self.wanted.sha256, actual=digest, source=self.request.shown)
        return False

    def _await_growth(self, hashed: int, beginning: int, stop: threading.Event) -> tuple[int, bool, int]:
        """Waits until there is more to hash: bytes without a hole, whether they are all, and which beginning it is."""
        with self._changed:
            while True:
                if stop.is_set():
                    raise Stopped
                if self.error:
                    raise self.error
                whole, complete = self._whole()
                if whole - hashed >= HASH_BLOCK or complete or self._beginnings != beginning:
                    return whole, complete, self._beginnings
                self._changed.wait(0.2)

    def _whole(self) -> tuple[int, bool]:
        """Bytes from the beginning without a hole, and whether that is the whole file."""
        while self._first_open < len(self._pieces) and self._pieces[self._first_open].done:
            self._first_open += 1
        if self._first_open < len(self._pieces):
            return self._pieces[self._first_open].at, False
        return self.size or 0, True

    def _whole_up_to_piece(self, piece: Piece) -> bool:
        return self._first_open < len(self._pieces) and self._pieces[self._first_open] is piece

    def _free_piece(self) -> Piece | None:
        self._whole()
        for number in range(self._first_open, len(self._pieces)):
            piece = self._pieces[number]
            if not piece.taken and not piece.done:
                return piece
        return None

    def _split(self, now: float) -> Piece | None:
        """The second half of the piece that would take longest, for a connection that has nothing else to do."""
        open_ended = [piece for piece in self._pieces if piece.taken and piece.end is not None and self.remote.ranged]
        slowest = max(open_ended, key=lambda piece: (piece.end or 0) - piece.at, default=None)
        if slowest is None or slowest.end is None or slowest.end - slowest.at < SPLIT_BYTES:
            return None
        rate = (slowest.at - slowest.start) / max(now - slowest.taken_at, 0.001)
        if now - slowest.taken_at < 1.0 or (slowest.end - slowest.at) / max(rate, 1.0) < 2.0:
            return None
        middle = (slowest.at + slowest.end) // 2
        half = Piece(middle, slowest.end)
        slowest.end = middle
        self._pieces.insert(self._pieces.index(slowest) + 1, half)
        return half

    def _start_over(self) -> None:
        for piece in self._pieces:
            piece.dropped = True
        self._beginnings += 1
        self.part.forget()
        self._lay_out([])
        self._changed.notify_all()

    def _lay_out(self, spans: list[Span]) -> None:
        """Divides the file into pieces: those that are there, and those that have to be fetched between them."""
        self._first_open = self._there = 0
        if not self.remote.ranged or self.size is None:
            self._pieces = [Piece(0, self.size)]
            return
        if spans and spans[-1][1] > self.size:
            spans = []
        self.part.resize(self.size)
        self._pieces = []
        at = 0
        for start, end in [*spans, (self.size, self.size)]:
            self._pieces += self._gap(at, start)
            if end > start:
                there = Piece(start, end)
                there.at = end
                self._pieces.append(there)
                self._there += end - start
            at = end

    def _gap(self, start: int, end: int) -> list[Piece]:
        size = min(LARGEST_PIECE, max(SMALLEST_PIECE, (self.size or 0) // 64))
        return [Piece(first, min(first + size, end)) for first in range(start, end, size)]
