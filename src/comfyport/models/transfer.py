"""One file: a request in, a verified file out.

The bytes go into a private part file and through sha256 on their way. What breaks on the way is tried again from
where it broke, as long as the server can continue there and still has the same file; only what the lock names, or
what the source itself promises where the lock is silent, is kept.
"""

import errno
import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import requests
import urllib3
from requests.auth import AuthBase
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tenacity.wait import wait_base

from comfyport import __version__
from comfyport.errors import DiskFull, ModelError, SourceFailed, WrongDigest, WrongSize
from comfyport.models.sources import Request
from comfyport.models.volume import sync_file

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
CONNECT_SECONDS = 10
# No byte for so long means that the connection is dead, whatever TCP thinks.
STALL_SECONDS = 30
ATTEMPTS = 6
BACKOFF = wait_exponential_jitter(multiplier=0.5, max=30)
# A server that asks for more patience than this is tried again after it all the same.
LONGEST_RETRY_AFTER = 120
RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Wanted:
    """What a download has to be: its path below `models/` for messages, bytes and sha256 where known."""

    path: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Fetched:
    """What a download was: bytes on disk, bytes that crossed the network, sha256."""

    size: int
    transferred: int
    sha256: str


class Stopped(Exception):
    """The download was asked to stop."""


class _TryAgain(Exception):
    """An attempt failed in a way that may pass; `after` is what the server asks us to wait, in seconds."""

    def __init__(self, reason: str, after: float = 0) -> None:
        super().__init__(reason)
        self.after = after


class _Bearer(AuthBase):
    """Sets the token on the first request only: requests drops it when a redirect leaves the host."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Transfer:
    """Fetches one file into `part`.

    `advance` is told the bytes on disk; setting `stop` ends the download with Stopped within a chunk.
    """

    def __init__(
        self,
        request: Request,
        wanted: Wanted,
        part: Path,
        *,
        session: requests.Session,
        advance: Callable[[int], None],
        stop: threading.Event,
        backoff: wait_base = BACKOFF,
    ) -> None:
        self.request = request
        self.wanted = wanted
        self.part = part
        self.session = session
        self.advance = advance
        self.stop = stop
        self.backoff = backoff
        self.done = 0
        self.transferred = 0
        self.size = wanted.size
        self.etag = ""
        self.digest = hashlib.sha256()

    def run(self) -> Fetched:
        """Fetches and verifies the whole file.

        Raises SourceFailed, WrongSize, WrongDigest or DiskFull; the part file is left for the caller to remove.
        """
        try:
            with self.part.open("wb") as file:
                try:
                    Retrying(
                        retry=retry_if_exception_type(_TryAgain),
                        stop=stop_after_attempt(ATTEMPTS),
                        wait=self._wait,
                        sleep=self._sleep,
                        before_sleep=self._log_retry,
                        reraise=True,
                    )(self._attempt, file)
                except _TryAgain as error:
                    raise self._failed(f"{error}; gave up after {ATTEMPTS} attempts") from None
                sync_file(file)
        except OSError as error:
            raise self._disk_error(error) from None
        return self._verified()

    def _attempt(self, file: IO[bytes]) -> None:
        """One request: continues at `self.done`, or starts afresh if the server does not continue."""
        try:
            with self.session.get(
                self.request.url,
                headers=self._headers(),
                auth=_Bearer(self.request.token),
                stream=True,
                timeout=(CONNECT_SECONDS, STALL_SECONDS),
            ) as response:
                self._accept(response, file)
                # `raw`: `iter_content` would silently unpack a body that was compressed on the way. `read1`: `read`
                # would sit out a slow chunk to its end before it hears of a stop.
                while chunk := response.raw.read1(CHUNK):
                    self._keep(chunk, file)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _TryAgain(_network_reason(error)) from None
        if self.size is not None and self.done < self.size:
            raise _TryAgain(f"the connection closed after {self.done} of {self.size} bytes")

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"comfyport/{__version__}", "Accept-Encoding": "identity"}
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
            if self.etag:
                headers["If-Range"] = self.etag
        return headers

    def _accept(self, response: requests.Response, file: IO[bytes]) -> None:
        """Looks at status and headers before a byte of the body is kept."""
        status = response.status_code
        if status in RETRIED_STATUSES:
            raise _TryAgain(f"the server answered {status}", _retry_after(response))
        if status == 416 and self.done:
            self._start_afresh(file)
            raise _TryAgain("the server refused to continue")
        if status not in (200, 206):
            raise self._refused(status)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._failed("the server sent it compressed, against the request")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise self._failed(f"it sent a web page instead of a file, usually a login page{self._token_hint()}")
        begins = self._begins_at(response)
        if begins != self.done:
            self._start_afresh(file)
            if begins:
                raise _TryAgain("the server continued at another place than asked")
        self._note_size(response)
        self.etag = _strong_etag(response)

    def _begins_at(self, response: requests.Response) -> int:
        if response.status_code == 200:
            return 0
        span = response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
        return int(span) if span.isdecimal() else -1

    def _note_size(self, response: requests.Response) -> None:
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            return
        total = self.done + int(length)
        if self.size is None:
            self.size = total
        elif total != self.size:
            raise WrongSize(self.wanted.path, expected=self.size, actual=total, source=self.request.shown)

    def _keep(self, chunk: bytes, file: IO[bytes]) -> None:
        if self.stop.is_set():
            raise Stopped
        file.write(chunk)
        self.digest.update(chunk)
        self.done += len(chunk)
        self.transferred += len(chunk)
        if self.size is not None and self.done > self.size:
            raise WrongSize(self.wanted.path, expected=self.size, actual=self.done, source=self.request.shown)
        self.advance(self.done)

    def _start_afresh(self, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        self.done = 0
        self.digest = hashlib.sha256()
        self.advance(0)

    def _verified(self) -> Fetched:
        digest = self.digest.hexdigest()
        if self.size is not None and self.done != self.size:
            raise WrongSize(self.wanted.path, expected=self.size, actual=self.done, source=self.request.shown)
        if self.done == 0 and self.wanted.size != 0:
            raise self._failed("it is empty")
        if self.wanted.sha256 and digest != self.wanted.sha256:
            raise WrongDigest(self.wanted.path, expected=self.wanted.sha256, actual=digest, source=self.request.shown)
        return Fetched(self.done, self.transferred, digest)

    def _wait(self, state: Any) -> float:
        error = state.outcome.exception()
        return max(self.backoff(state), min(float(error.after), LONGEST_RETRY_AFTER))

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    def _log_retry(self, state: Any) -> None:
        logger.warning(
            "retry path=%s attempt=%d reason=%s",
            self.wanted.path,
            state.attempt_number,
            state.outcome.exception(),
        )

    def _failed(self, reason: str) -> SourceFailed:
        return SourceFailed(self.wanted.path, f"{reason}.", source=self.request.shown)

    def _refused(self, status: int) -> SourceFailed:
        if status in (401, 403):
            return self._failed(f"the server answered {status}: it is gated or private{self._token_hint()}")
        if status == 404:
            return self._failed("the server answered 404: check repository, revision and file name in the lock")
        return self._failed(f"the server answered {status}")

    def _token_hint(self) -> str:
        if not self.request.token_variable:
            return "; name the variable that holds a token with `auth` in the lock"
        if self.request.token:
            return f"; {self.request.token_variable} is set: check that its owner may read this file"
        return f"; set {self.request.token_variable} to a token that may read this file"

    def _disk_error(self, error: OSError) -> ModelError | OSError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(str(self.part.parent), needed=(self.size or 0) - self.done, free=0)
        return error


def _network_reason(error: Exception) -> str:
    """The innermost cause: requests and urllib3 wrap it up to four times, address and query included."""
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)) and isinstance(
        inner, BaseException
    ):
        cause = inner
    return f"the connection failed ({type(cause).__name__})"


def _retry_after(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0


def _strong_etag(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""
