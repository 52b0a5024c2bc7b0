"""Ports: free, or taken by another program."""

import errno
import socket

from comfyport.errors import PortInUse


def require_free(host: str, port: int, *, setting: str) -> None:
    """Raises PortInUse if a program listens on `port`; `setting` is the variable to change then."""
    listen(host, port, setting=setting).close()


def listen(host: str, port: int, *, setting: str) -> socket.socket:
    """A socket that listens on `host` and `port`. Raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port, setting=setting) from None
        raise
