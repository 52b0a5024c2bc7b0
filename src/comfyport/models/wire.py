"""One HTTP connection that is kept open from part to part (HTTP/1.1 over http.client: no copies, no surprises).

requests would cost half as much CPU again per byte, unpack what was compressed on the way, and follow redirects with
rules of its own about who may see a token.
"""

import base64
import http.client
import ssl
import urllib.request
from functools import cache
from urllib.parse import SplitResult, unquote, urlsplit

from comfyport import __version__
from comfyport.errors import InvalidSetting
from comfyport.models.sources import origin

CONNECT_SECONDS = 10.0
NETWORK_ERRORS = (OSError, http.client.HTTPException)
_COMMON = {"User-Agent": f"comfyport/{__version__}", "Accept-Encoding": "identity", "Accept": "*/*"}


class Wire:
    """A connection to one origin at a time; `seconds` without a byte end a wait with TimeoutError.

    HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honoured, in lower case too, and so are SSL_CERT_FILE and SSL_CERT_DIR.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._connection: http.client.HTTPConnection | None = None
        self._origin = ""

    def get(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """The answer to a GET, its body unread. `url` is in ASCII. Raises NETWORK_ERRORS or InvalidSetting.

        The server may have closed a kept connection at any time; what fails on one is tried once more on a new one.
        """
        if self._connection and self._origin == origin(url):
            try:
                return self._ask(self._connection, url, headers)
            except NETWORK_ERRORS:
                self.close()
        self.close()
        connection = _connect(urlsplit(url))
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
        host = parts.netloc.rpartition("@")[2]
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        sent = {**_COMMON, "Host": host, **headers}
        proxy = _proxy(parts) if parts.scheme == "http" else None
        if proxy:
            target = parts._replace(netloc=host, path=parts.path or "/", fragment="").geturl()
            sent |= _credentials(proxy)
        connection.request("GET", target, headers=sent)
        return connection.getresponse()


def _connect(parts: SplitResult) -> http.client.HTTPConnection:
    """A connection, not open yet, to the server or to the proxy before it."""
    proxy = _proxy(parts)
    through = proxy or parts
    if parts.scheme != "https":
        return http.client.HTTPConnection(through.hostname or "", through.port, timeout=CONNECT_SECONDS)
    # Without a port http.client takes that of https, which is not a proxy's.
    port = through.port or (80 if proxy else 443)
    connection = http.client.HTTPSConnection(through.hostname or "", port, timeout=CONNECT_SECONDS, context=_tls())
    if proxy:
        connection.set_tunnel(parts.hostname or "", parts.port or 443, headers=_credentials(proxy))
    return connection


def _proxy(parts: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for this address, if any. Raises InvalidSetting."""
    found = urllib.request.getproxies().get(parts.scheme, "")
    if not found or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    try:
        usable = proxy.scheme == "http" and proxy.hostname and (proxy.port is None or proxy.port > 0)
    except ValueError:
        usable = False
    if not usable:
        # Its value may hold a password.
        reason = "write http://host:port, with user:password@ before the host if the proxy asks for it"
        raise InvalidSetting(f"{parts.scheme.upper()}_PROXY", "********", reason)
    return proxy


def _credentials(proxy: SplitResult) -> dict[str, str]:
    """The header that a proxy with a user name and a password in its address wants (RFC 7617)."""
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
