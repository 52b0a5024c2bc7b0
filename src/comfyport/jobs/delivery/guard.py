"""Keeps a job from having its files sent to an address inside of the platform's network."""

import asyncio
import socket
from ipaddress import ip_address

from comfyport.jobs.addresses import AddressRefused, forbidden, parsed


async def refusal(url: str, *, private: bool) -> str:
    """Why nothing may be sent to an address that a job names; empty if it may. `private` lets private networks pass.

    Encryption is asked for because a name may lead elsewhere by the time it is looked up again: then the certificate
    does not fit.
    """
    try:
        asked = parsed(url, private=private)
        found = await asyncio.get_running_loop().getaddrinfo(asked.raw_host, asked.port, type=socket.SOCK_STREAM)
    except AddressRefused as error:
        return error.reason
    except (OSError, UnicodeError):
        return "its name is not known"
    kinds = [forbidden(ip_address(str(place[0]).split("%")[0]), private=private) for *_, place in found]
    return next((f"it leads to {kind}" for kind in kinds if kind), "")
