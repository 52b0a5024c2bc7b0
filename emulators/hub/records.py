"""What was asked and answered, for tests to look at."""

from dataclasses import dataclass
from typing import Literal

from aiohttp import web

Role = Literal["hub", "cdn", "files", "civitai", "elsewhere"]


@dataclass(frozen=True)
class RequestRecord:
    """One request and how it was answered.

    `bytes_sent` counts the bytes of a file that were handed to the socket; it is 0 for HEAD and for answers
    that have no file in them, such as errors and redirects.
    """

    method: str
    role: Role
    path: str
    status: int
    bytes_sent: int
    range: str | None = None
    if_range: str | None = None
    authorization: str | None = None
    user_agent: str | None = None
    fault: str | None = None
    """The name of the fault that this answer suffered."""


class Exchange:
    """A request that is being answered.

    Its numbers grow before the bytes leave, so that no client has seen more than they say.
    """

    def __init__(self, request: web.Request, role: Role) -> None:
        self.request = request
        self.role = role
        self.status = 0
        self.bytes_sent = 0
        self.fault: str | None = None

    def record(self) -> RequestRecord:
        """What is known of it now."""
        headers = self.request.headers
        return RequestRecord(
            method=self.request.method,
            role=self.role,
            path=self.request.path,
            status=self.status,
            bytes_sent=self.bytes_sent,
            range=headers.get("Range"),
            if_range=headers.get("If-Range"),
            authorization=headers.get("Authorization"),
            user_agent=headers.get("User-Agent"),
            fault=self.fault,
        )


EXCHANGE = web.RequestKey("EXCHANGE", Exchange)
"""Where a handler finds the exchange that it belongs to."""
