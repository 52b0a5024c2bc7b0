"""Opens the address of an input file: redirects followed one by one, what goes wrong said in a sentence."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from comfyport.jobs import addresses
from comfyport.jobs.addresses import AddressRefused

# A link of a sharing service goes over two or three.
MOST_REDIRECTS = 5
# The whole is limited by the caller; these find a host that has gone silent earlier.
SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
PAGES = ("text/html", "application/xhtml+xml")


class DownloadFailed(Exception):
    """A file could not be had from its address; the text says why and names the host at most, never the address."""


@asynccontextmanager
async def opened(
    address: str, *, private: bool, picture: bool, tls: ssl.SSLContext | bool = True
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response with the file, unread. Raises DownloadFailed, also for what goes wrong while it is being read.

    `private` and `tls` as in `addresses.session`; where a `picture` is expected, a web page is refused as one.
    """
    host = "its address"
    try:
        async with addresses.session(private=private, tls=tls) as session:
            url = addresses.parsed(address, private=private)
            for _ in range(MOST_REDIRECTS + 1):
                host = url.host or host
                async with session.get(url, timeout=SILENCE, allow_redirects=False) as response:
                    if response.status not in (301, 302, 303, 307, 308):
                        _check(response, host, picture=picture)
                        yield response
                        return
                    url = _next(response, private=private)
            raise DownloadFailed(f"{host} redirects more than {MOST_REDIRECTS} times")
    except AddressRefused as refused:
        raise DownloadFailed(str(refused)) from None
    except aiohttp.ClientConnectorError as error:
        raise DownloadFailed(f"{host} cannot be reached: {_cause(error)}") from None
    except aiohttp.ClientError as error:
        raise DownloadFailed(f"the connection to {host} broke: {type(error).__name__}") from None
    except TimeoutError:
        raise DownloadFailed(f"{host} does not answer in time") from None


def _next(response: aiohttp.ClientResponse, *, private: bool) -> URL:
    """Where a redirect leads, if one may go there."""
    location = response.headers.get("Location", "")
    try:
        joined = str(response.url.join(URL(location, encoded=location.isascii())))
    except ValueError:
        raise DownloadFailed(f"{response.url.host} redirects to what is not an address") from None
    try:
        return addresses.parsed(joined, private=private)
    except AddressRefused as refused:
        raise DownloadFailed(f"{response.url.host} redirects: {refused}") from None


def _check(response: aiohttp.ClientResponse, host: str, *, picture: bool) -> None:
    if response.status != 200:
        raise DownloadFailed(f"{host} answered {response.status} {response.reason or ''}".rstrip())
    if picture and response.content_type in PAGES:
        raise DownloadFailed(
            f"{host} answered with a web page ({response.content_type}), not a picture: "
            "is this the address of a page that shows it, or does it ask for a login?"
        )


def _cause(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error})"
    return str(error.os_error.strerror or error.os_error)
