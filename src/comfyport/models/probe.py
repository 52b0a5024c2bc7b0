"""Asks a source for one byte: where the file really lies, how large it is, whether it is the one that is wanted.

GET and not HEAD: Civitai answers HEAD with 401, and storage behind signed addresses refuses it. What the Hub says of
the file on the way (`X-Linked-Etag` is the sha256 of a large file, `X-Linked-Size` its size) is held against the lock
before the first byte of it is fetched.
"""

import http.client
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urljoin

from comfyport.errors import SourceFailed, WrongDigest, WrongSize
from comfyport.models.sources import Request, origin, sendable
from comfyport.models.wire import NETWORK_ERRORS, Wire

REDIRECTS = 10
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
_PROXY_HINT = "put user:password@ before the host in HTTP_PROXY and HTTPS_PROXY"
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
# A server may write a text answer where a file should be; nothing that ComfyUI loads has these types.
_PAGES = {"text/html": "a web page, most often a login page", "application/json": "a JSON answer instead of the file"}


@dataclass(frozen=True)
class Wanted:
    """What a download has to be: its path below `models/` for messages, bytes and sha256 where known."""

    path: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Remote:
    """A file where it lies: `headers` open it, `size` in bytes if the server tells, `etag` if it is a strong one."""

    url: str
    headers: dict[str, str] = field(repr=False)
    size: int | None
    etag: str
    ranged: bool


class TryLater(Exception):
    """An attempt failed in a way that may pass; `after` is what the server asks us to wait, in seconds."""

    def __init__(self, reason: str, *, after: float = 0.0, busy: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.busy = busy


def probe(request: Request, wanted: Wanted, wire: Wire) -> Remote:
    """Where the file lies now. Raises TryLater, SourceFailed, WrongSize or WrongDigest."""
    url = request.url
    promised = False
    for _ in range(REDIRECTS):
        headers = _authorization(request, url)
        try:
            response = wire.get(url, {"Range": "bytes=0-0", **headers})
        except NETWORK_ERRORS as error:
            wire.close()
            if lasting := lasting_reason(error):
                raise failed(request, wanted, lasting) from None
            raise TryLater(network_reason(error)) from None
        try:
            promised = _hold_against(wanted, response, request) or promised
            if response.status not in (301, 302, 303, 307, 308):
                return _remote(url, headers, response, request, wanted, promised=promised)
            try:
                url = _redirected(url, response.headers.get("Location", ""))
            except ValueError:
                raise failed(request, wanted, "it redirects to an address that is no http address") from None
            if request.url.startswith("https://") and url.startswith("http://"):
                raise failed(request, wanted, "it redirects from https to http")
        finally:
            _drain(response)
            wire.finish(response)
    raise failed(request, wanted, f"it redirects more than {REDIRECTS} times")


def failed(request: Request, wanted: Wanted, reason: str) -> SourceFailed:
    """The error that names file, source and reason."""
    return SourceFailed(wanted.path, f"{reason}.", source=request.shown)


def refusal(request: Request, wanted: Wanted, status: int) -> SourceFailed:
    """The error for an answer that will not become another by asking again, with what to do about it."""
    if status in (401, 403):
        return failed(request, wanted, f"the server answered {status}: it is gated or private{token_hint(request)}")
    if status == 407:
        return failed(request, wanted, f"the proxy answered 407: {_PROXY_HINT}")
    if status in (404, 410):
        return failed(request, wanted, f"the server answered {status}: it is not there; check the entry in the lock")
    return failed(request, wanted, f"the server answered {status}")


def token_hint(request: Request) -> str:
    """What to do about a token, to be added to a reason."""
    if not request.token_variable:
        return "; name the variable that holds a token with `auth` in the lock"
    if request.token:
        return f"; {request.token_variable} is set: check that its owner may read this file"
    return f"; set {request.token_variable} to a token that may read this file"


def retry_after(response: http.client.HTTPResponse) -> float:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3: seconds, or a date), 0 if it does not."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - _now())
    except (ValueError, TypeError):
        return 0.0


def strong_etag(response: http.client.HTTPResponse) -> str:
    """The ETag, if it may be used with If-Range (RFC 9110, 13.1.5: a strong one)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""


def network_reason(error: Exception) -> str:
    """What happened to a connection, without the address, which may hold a signature."""
    if isinstance(error, TimeoutError):
        return "the server went silent"
    return f"the connection failed ({type(error).__name__})"


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads, fit for the wire. Raises ValueError."""
    # http.client reads headers as Latin-1; servers that write other letters there mean UTF-8.
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    return sendable(urljoin(url, location))


def lasting_reason(error: Exception) -> str:
    """What is wrong with a connection that will not become another by trying again; empty if it may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); if a proxy or a mirror has its own authority, "
            "set SSL_CERT_FILE to a file with its certificate"
        )
    refused = _TUNNEL_REFUSED.match(str(error))
    if refused and refused[1] == "407":
        return f"the proxy answered 407: {_PROXY_HINT}"
    if refused and refused[1][0] == "4":
        return f"the proxy answered {refused[1]}: it does not let us through to that host"
    return ""


def _remote(
    url: str,
    headers: dict[str, str],
    response: http.client.HTTPResponse,
    request: Request,
    wanted: Wanted,
    *,
    promised: bool,
) -> Remote:
    """What a final answer says of the file; `promised`: the source itself has confirmed the size on the way."""
    if response.status in BUSY:
        raise TryLater(f"the server answered {response.status}", after=retry_after(response), busy=True)
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status == 416 and total == "0":
        return Remote(url, headers, 0, "", ranged=False)
    if response.status == 416:
        raise TryLater("the server has no first byte of the file")
    if response.status not in (200, 206):
        raise refusal(request, wanted, response.status)
    _refuse_page(response, request, wanted)
    ranged = response.status == 206 and total.isdecimal()
    length = total if ranged else response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() and not _encoded(response) else None
    if size is not None and wanted.size is not None and size != wanted.size:
        if promised:
            raise TryLater(f"the source promises {wanted.size} bytes and its storage has {size}")
        raise WrongSize(wanted.path, expected=wanted.size, actual=size, source=request.shown)
    return Remote(url, headers, size, strong_etag(response), ranged)


def _hold_against(wanted: Wanted, response: http.client.HTTPResponse, request: Request) -> bool:
    """Compares what the Hub says of the file with the lock; whether it confirmed the size."""
    size = response.headers.get("X-Linked-Size", "")
    if wanted.size is not None and size.isdecimal() and int(size) != wanted.size:
        raise WrongSize(wanted.path, expected=wanted.size, actual=int(size), source=request.shown)
    digest = _SHA256.fullmatch(response.headers.get("X-Linked-Etag", ""))
    if wanted.sha256 and digest and digest[1] != wanted.sha256:
        raise WrongDigest(wanted.path, expected=wanted.sha256, actual=digest[1], source=request.shown)
    return size.isdecimal() and wanted.size is not None


def _refuse_page(response: http.client.HTTPResponse, request: Request, wanted: Wanted) -> None:
    kind = response.headers.get_content_type()
    suffix = wanted.path.rpartition(".")[2].lower()
    if kind in _PAGES and suffix not in ("json", "html", "txt"):
        raise failed(request, wanted, f"it sent {_PAGES[kind]}{token_hint(request)}")


def _encoded(response: http.client.HTTPResponse) -> bool:
    return response.headers.get("Content-Encoding", "identity") != "identity"


def _authorization(request: Request, url: str) -> dict[str, str]:
    if request.token and origin(url) in request.origins:
        return {"Authorization": f"Bearer {request.token}"}
    return {}


def _drain(response: http.client.HTTPResponse) -> None:
    """Reads a short body to its end, so that the connection can be used again."""
    try:
        if (response.length or 0) <= 1 << 16:
            response.read(1 << 16)
    except NETWORK_ERRORS:
        response.close()


def _now() -> float:
    import time

    return time.time()
