"""The connections that fetch pieces, for all downloads of a process together.

Each is a thread with a connection that it keeps. It takes the next piece of the first download that has one and whose
host has room, so that early files are whole early; what goes wrong with a piece is told to its download, which decides.
"""

import errno
import http.client
import logging
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from comfyport.errors import ComfyportError, DiskFull
from comfyport.models.formats import page
from comfyport.models.hosts import Host
from comfyport.models.probe import (
    BUSY,
    Remote,
    TryLater,
    failed,
    network_reason,
    refusal,
    retry_after,
    strong_etag,
    token_hint,
)
from comfyport.models.transfer import Patience, Piece, Transfer
from comfyport.models.wire import NETWORK_ERRORS, Wire

logger = logging.getLogger(__name__)

# One write and one line in the journal for so many bytes, since threads that change places cost more than copies; or
# for so many seconds, on a slow connection.
BUFFER_BYTES = 2 << 20
WRITE_SECONDS = 0.1
IDLE_SECONDS = 0.05
EXPIRED = frozenset({401, 403, 404, 410})


class Engine:
    """At most `most` connections to each host, for the downloads that are handed in with `add`."""

    def __init__(self, most: int, stop: threading.Event, patience: Patience) -> None:
        self._most = most
        self._stop = stop
        self._patience = patience
        self._hosts: dict[str, Host] = {}
        self._transfers: list[Transfer] = []
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._work = threading.Condition()

    def add(self, transfer: Transfer) -> None:
        """Begins to fetch a download, behind those that were added before."""
        with self._work:
            self._transfers.append(transfer)
            self._work.notify_all()
        self._hire()

    def drop(self, transfer: Transfer) -> None:
        """Ends the work on a download; pieces under way end at their next block."""
        transfer.fail(ComfyportError("dropped"))
        with self._work:
            self._transfers.remove(transfer)

    def _hire(self) -> None:
        """Starts a thread if all are busy and another could be of use."""
        with self._work:
            if self._idle or len(self._threads) >= self._most:
                return
            thread = threading.Thread(target=self._serve, name=f"connection-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            self._idle += 1
        thread.start()

    def _serve(self) -> None:
        wire = Wire(self._patience.silence)
        buffer = memoryview(bytearray(BUFFER_BYTES))
        while not self._stop.is_set():
            transfer, piece, host = self._next()
            if transfer is None or piece is None or host is None:
                break
            self._hire()
            try:
                _Errand(transfer, piece, host, wire, buffer, self._patience).run()
            finally:
                with self._work:
                    host.in_use -= 1
                    self._idle += 1
                    self._work.notify()
        wire.close()

    def _next(self) -> tuple[Transfer | None, Piece | None, Host | None]:
        """Waits for a piece; Nones when the engine stops."""
        with self._work:
            while not self._stop.is_set():
                now = time.monotonic()
                for transfer in self._transfers:
                    host = self._host(transfer.remote)
                    piece = transfer.take(now) if host.has_room() else None
                    if piece:
                        host.in_use += 1
                        self._idle -= 1
                        return transfer, piece, host
                self._work.wait(IDLE_SECONDS)
        return None, None, None

    def _host(self, remote: Remote) -> Host:
        name = urlsplit(remote.url).netloc
        return self._hosts.setdefault(name, Host(self._most))


class _Errand:
    """One piece, one request."""

    def __init__(
        self, transfer: Transfer, piece: Piece, host: Host, wire: Wire, buffer: memoryview, patience: Patience
    ) -> None:
        self.transfer = transfer
        self.piece = piece
        self.host = host
        self.wire = wire
        self.buffer = buffer
        self.patience = patience
        self.remote = piece.remote or transfer.remote

    def run(self) -> None:
        """Fetches the piece, or tells the download why not."""
        problem: TryLater | None = None
        try:
            self._fetch()
        except TryLater as later:
            problem = later
            if later.busy:
                self.host.refused(min(later.after, self.patience.longest_retry_after))
        except NETWORK_ERRORS as error:
            problem = TryLater(network_reason(error))
        except ComfyportError as error:
            self.transfer.fail(error)
        except Exception as error:
            # A thread that ended here would keep its piece, and the download would wait for ever.
            logger.exception("a connection failed")
            self.transfer.fail(error)
        if problem:
            self.wire.close()
        self.transfer.give_back(self.piece, problem)

    def _fetch(self) -> None:
        headers = dict(self.remote.headers)
        if self.remote.ranged:
            last = "" if self.piece.end is None else self.piece.end - 1
            headers["Range"] = f"bytes={self.piece.at}-{last}"
            if self.remote.etag:
                headers["If-Range"] = self.remote.etag
        response = self.wire.get(self.remote.url, headers)
        try:
            if self._accept(response):
                self._keep(response)
        finally:
            self.wire.finish(response)

    def _accept(self, response: http.client.HTTPResponse) -> bool:
        """Whether the body is what was asked for; if not, the download has been told."""
        status, transfer = response.status, self.transfer
        if status in BUSY:
            raise TryLater(f"the server answered {status}", after=retry_after(response), busy=status in (429, 503))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise TryLater("the server sent it compressed, against the request")
        if self.remote.ranged and status == 206:
            return self._is_the_span(response)
        if not self.remote.ranged and status == 200:
            return True
        if self.remote.ranged and status == 200:
            # Either the file has changed (If-Range), or the server has stopped keeping to ranges.
            etag = strong_etag(response)
            if self.remote.etag and etag != self.remote.etag:
                transfer.renew(self.remote)
                raise TryLater("the file at the source changed")
            transfer.become_single()
            return False
        if status in EXPIRED and self.remote.url == transfer.request.url:
            raise refusal(transfer.request, transfer.wanted, status)
        # A signed address that has expired, a redirect where there was none, a range that is not there any more.
        transfer.renew(self.remote)
        raise TryLater(f"the server answered {status}")

    def _is_the_span(self, response: http.client.HTTPResponse) -> bool:
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if total.isdecimal() and self.transfer.size is not None and int(total) != self.transfer.size:
            self.transfer.renew(self.remote)
            raise TryLater("the file at the source has another size now")
        if span.partition("-")[0] != str(self.piece.at):
            raise TryLater("the server sent another part of the file than was asked for")
        return True

    def _keep(self, response: http.client.HTTPResponse) -> None:
        """Reads the body into the piece, block by block, as long as it comes at a decent rate."""
        expected = response.length
        received = 0
        pulse = _Pulse(self.patience)
        read = _reader(response)
        first = self.piece.at == 0
        while True:
            filled, ended, broken = self._fill(read, pulse)
            if filled:
                if first:
                    self._refuse_page(bytes(self.buffer[: min(filled, 1024)]))
                    first = False
                received += filled
                self.host.received(filled)
                if not self._put(self.buffer[:filled]):
                    return
            if broken:
                raise broken
            if ended:
                break
        if expected is not None and received < expected:
            raise TryLater(f"the connection closed after {self.piece.at} bytes")
        if self.piece.end is None:
            self.transfer.ended(self.piece)
        elif not self.piece.done:
            raise TryLater(f"the server ended the file after {self.piece.at} bytes")

    def _fill(self, read: Callable[[memoryview], int], pulse: "_Pulse") -> tuple[int, bool, Exception | None]:
        """Fills the buffer, or as much of it as comes within a moment.

        Bytes, whether the body ended with them, and what broke after them: what has come is kept all the same.
        """
        filled = 0
        deadline = time.monotonic() + WRITE_SECONDS
        try:
            while filled < len(self.buffer) and time.monotonic() <= deadline:
                count = read(self.buffer[filled:])
                if not count:
                    return filled, True, None
                filled += count
                pulse.beat(count)
        except (TryLater, *NETWORK_ERRORS) as error:
            return filled, False, error
        return filled, False, None

    def _put(self, content: memoryview) -> bool:
        if self.transfer.error:
            return False
        try:
            return self.transfer.put(self.piece, content)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self.transfer.fail(error)
                return False
            needed = (self.transfer.size or 0) - self.piece.at
            raise DiskFull(str(self.transfer.part.folder.parent), needed=max(needed, len(content)), free=0) from None

    def _refuse_page(self, head: bytes) -> None:
        """The first bytes of a file tell a page that was sent in its place."""
        transfer = self.transfer
        suffix = transfer.wanted.path.rpartition(".")[2]
        if found := page(head, f".{suffix}"):
            reason = f"it sent {found} instead of the file{token_hint(transfer.request)}"
            raise failed(transfer.request, transfer.wanted, reason)


class _Pulse:
    """Notices a connection that drips: less than the slowest rate for as long as silence may last."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self._bytes = 0

    def beat(self, size: int) -> None:
        """Counts bytes. Raises TryLater."""
        self._bytes += size
        elapsed = time.monotonic() - self._since
        if elapsed >= self._patience.silence:
            if self._bytes / elapsed < self._patience.slowest_rate:
                raise TryLater(f"the server sent only {self._bytes / elapsed / 1024:.1f} KiB/s")
            self._since, self._bytes = time.monotonic(), 0


def _reader(response: http.client.HTTPResponse) -> Callable[[memoryview], int]:
    """Reads what is there into a buffer, one system call, no copy; 0 at the end of the body."""
    if response.chunked:
        return lambda buffer: _copy(response.read1(len(buffer)), buffer)

    def read(buffer: memoryview) -> int:
        left = response.length
        if left == 0 or response.fp is None:
            return 0
        count = response.fp.readinto1(buffer if left is None else buffer[:left])
        if left is not None:
            response.length = left - count
            if count == left:
                response.close()
        elif not count:
            response.close()
        return count

    return read


def _copy(content: bytes, buffer: memoryview) -> int:
    buffer[: len(content)] = content
    return len(content)
