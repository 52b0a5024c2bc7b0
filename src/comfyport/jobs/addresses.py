"""Addresses that come with a job: which may be asked, and a session that connects to no others.

An address in a job makes this worker send a request from inside of somebody's network (server-side request forgery):
to a cloud's metadata service, which hands out credentials, or to a neighbour that trusts its network. What counts is
the IP address that is connected to in the end, whatever the name, its spelling or a redirect led to it. So the check
sits where the socket is made: nothing can change between it and the connection, as a second look-up of the name could.

    async with session(private=False) as asking, asking.get(parsed(text, private=False), allow_redirects=False): …

Redirects must be followed by hand, through `parsed`; the session itself holds for every hop. It has no cookies and
takes neither credentials nor proxies from the environment (.netrc, HTTPS_PROXY): a proxy would look the name up
itself, behind our back.
"""

import errno
import re
import socket
import ssl
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from comfyport import __version__

# IANA's special-purpose registries (RFC 6890 and what came after), and the metadata services that lie outside of them.
PRIVATE = {
    "a loopback address": "127.0.0.0/8 ::1/128",
    "a private address": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
    "an address of a carrier's network": "100.64.0.0/10",
}
NEVER = {
    "the metadata service of a cloud": "169.254.169.254/32 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32"
    " fd00:ec2::254/128 fd20:ce::254/128",
    "a link-local address": "169.254.0.0/16 fe80::/10",
    "an unspecified address": "0.0.0.0/8 ::/128",
    "a multicast address": "224.0.0.0/4 ff00::/8",
    "a reserved address": "192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4 2001::/23",
    "an address of documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    "an IPv4 address inside of an IPv6 one": "::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 2001::/32 2002::/16",
}
# All of IPv6 that is given out for the internet.
PUBLIC_IPV6 = IPv6Network("2000::/3")

LONGEST = 8192

Network = IPv4Network | IPv6Network


class AddressRefused(OSError):
    """An address that a job may not make us ask; its text says which and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EACCES, reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def _networks(table: dict[str, str]) -> list[tuple[Network, str]]:
    return [(ip_network(network), kind) for kind, networks in table.items() for network in networks.split()]


_NEVER, _PRIVATE = _networks(NEVER), _networks(PRIVATE)


def forbidden(address: IPv4Address | IPv6Address, *, private: bool) -> str | None:
    """What kind of address it is, if it may not be connected to; `private` lets private networks and loopback pass."""
    for network, kind in _NEVER if private else _NEVER + _PRIVATE:
        if address.version == network.version and address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in PUBLIC_IPV6 and not (private and _is_private(address)):
        return "a reserved address"
    return None


def _is_private(address: IPv6Address) -> bool:
    return any(address in network for network, _ in _PRIVATE if network.version == address.version)


def parsed(text: str, *, private: bool) -> URL:
    """The address, if its form is one that may be asked: https, or http too where `private` addresses may be.

    Raises AddressRefused, whose text holds nothing of the address but its scheme and host: the rest may be a secret.
    """
    if len(text) > LONGEST:
        raise AddressRefused(f"the address has more than {LONGEST} characters")
    if any(character <= " " or character == "\x7f" or character == "\\" for character in text):
        raise AddressRefused("the address contains a space, a backslash or a control character")
    try:
        # What is encoded already is asked for as it stands: signatures are made over the very spelling.
        url = URL(text, encoded=text.isascii())
        host, _ = url.raw_host, url.port
    except ValueError:
        raise AddressRefused("the address cannot be read: write https://host/path") from None
    schemes = ("https", "http") if private else ("https",)
    if url.scheme not in schemes:
        raise AddressRefused(f"the address must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if url.raw_user is not None or url.raw_password is not None:
        raise AddressRefused("the address must not contain a user name or a password")
    _check_host(host or "", private=private)
    return url.with_fragment(None)


def _check_host(host: str, *, private: bool) -> None:
    if not host or host.endswith(".") or "%" in host:
        raise AddressRefused(f"{host[:100]!r} is not the name of a host")
    try:
        address = ip_address(host)
    except ValueError:
        # 2130706433, 0x7f.1 and 017700000001 are 127.0.0.1 to the system, and nothing that a person would write.
        if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rsplit(".", 1)[-1], re.IGNORECASE):
            raise AddressRefused(f"{host[:100]!r} is an odd spelling of an IP address") from None
        return
    if kind := forbidden(address, private=private):
        raise AddressRefused(f"{host} is {kind}")


def session(
    *, private: bool, tls: ssl.SSLContext | bool = True, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """A session that connects to permitted addresses only: requests to others fail with AddressRefused as their cause.

    `tls` says which certificates are trusted; `resolver` looks names up, by default as the system does.
    """

    def guarded(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = info
        if reason := forbidden(ip_address(str(place[0])), private=private):
            raise AddressRefused(f"it leads to {place[0]!s}, {reason}")
        return socket.socket(family, kind, protocol)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver or aiohttp.ThreadedResolver(), ssl=tls, socket_factory=guarded
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # Sizes are counted as they arrive; what is not asked for packed need not be unpacked.
        headers={"User-Agent": f"comfyport/{__version__}", "Accept-Encoding": "identity"},
    )
