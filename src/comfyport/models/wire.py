"""One HTTP connection that is kept open from part to part (HTTP/1.1 over http.client: no copies, no surprises).

requests would cost half as much CPU again per byte, unpack what was compressed on the way, and follow redirects with
rules of its own about who may see a token.
"""

import http.client
import ssl
import urllib.request
from functools import cache
from urllib.parse import SplitResult, urlsplit

from comfyport import __version__
from comfyport.models.sources import origin

CONNECT_SECONDS = 10.0
NETWORK_ERRORS = (OSError, http.client.HTTPException)
_COMMON = {"User-Agent": f"comfyport/{__version__}", "Accept-Encoding": "identity", "Accept": "*/*"}


class Wire:
    """A connection to one origin at a time; `seconds` without a byte end a wait with TimeoutError."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._connection: http.client.HTTPConnection | None = None
        self._origin = ""

    def get(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """The answer to a GET, its body unread. Raises NETWORK_ERRORS.

        The server may have closed a kept connection at any time; what fails on one is tried once more on a new one.
        """
        if self._connection and self._origin == origin(url):
            try:
                return self._ask(self._connection, url, headers)
            except NETWORK_ERRORS:
                self.close()
        self.close()
        parts = urlsplit(url)
        connection = _connect(parts)
        self._connection, self._origin = connection, origin(url)
        connection.connect()
        connection.sock.settimeout(self._seconds)
        return self._ask(connection, url, headers)

    def finish(self, response: http.client.HTTPResponse) -> None:
        """Ends with an answer: its connection is kept if the body was read to its end."""
        if not response.isclosed():
            self.close()

    def close(self) -> None:
        """Closes the connection, whatever is still on its way."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _ask(
        self, connection: http.client.HTTPConnection, url: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        target = url if parts.scheme == "http" and _proxy(parts) else path
        connection.request("GET", target, headers={**_COMMON, "Host": parts.netloc.rpartition("@")[2], **headers})
        return connection.getresponse()


def _connect(parts: SplitResult) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    proxy = _proxy(parts)
    if parts.scheme != "https":
        through = urlsplit(proxy) if proxy else parts
        return http.client.HTTPConnection(through.hostname or "", through.port, timeout=CONNECT_SECONDS)
    if not proxy:
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=_tls())
    through = urlsplit(proxy)
    connection = http.client.HTTPSConnection(
        through.hostname or "", through.port, timeout=CONNECT_SECONDS, context=_tls()
    )
    connection.set_tunnel(host, port)
    return connection


def _proxy(parts: SplitResult) -> str:
    """The proxy that the environment names for this address, if any."""
    found = urllib.request.getproxies().get(parts.scheme, "")
    return "" if not found or urllib.request.proxy_bypass(parts.netloc) else found


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
