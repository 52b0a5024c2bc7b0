"""Keeps a job from having its files sent to an address inside of the platform's network."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit


async def refusal(url: str) -> str:
    """Why nothing may be sent to an address that a job names; empty if it may.

    Encryption is asked for because a name may lead elsewhere by the time it is looked up again: then the certificate
    does not fit.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return "it must start with https://"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return "its name is not known"
    if all(ipaddress.ip_address(str(address[0]).split("%")[0]).is_global for *_, address in found):
        return ""
    return "it leads to a private address"
