"""Signed URLs: who holds one may fetch one file from the CDN, for a while, without any token."""

import hashlib
import hmac
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from emulators.hub.content import Content
from emulators.hub.faults import Fault, matches

PRESIGNED_SECONDS = 86400
"""How long a Civitai link lives, as its `X-Amz-Expires` says."""

_SIGNATURES = ("Signature", "X-Amz-Signature")


@dataclass
class Grant:
    """The right to fetch `content` at `path` until `expires` (seconds since 1970)."""

    label: str
    content: Content
    path: str
    expires: float
    presigned: bool
    """Whether it is of the S3 kind, which refuses a second means of authorization."""
    uses: int = 0
    expired_early: bool = False


class Grants:
    """Hands out signed paths and recognises them again.

    `lifetime` in seconds holds for the Hub's links; `clock` gives seconds since 1970.
    """

    def __init__(self, *, lifetime: float, clock: Callable[[], float], expiries: Sequence[Fault] = ()) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._expiries = expiries
        self._expired = Counter[tuple[int, str]]()
        self._serials = itertools.count(1)
        self._grants: dict[str, Grant] = {}

    def cloudfront(self, label: str, content: Content) -> str:
        """A path as the Hub's 302 names it: the sha256 and CloudFront's parameters."""
        path = f"/cdn/{content.sha256}"
        expires = self._clock() + self._lifetime
        signature = self._sign(Grant(label, content, path, expires, presigned=False))
        query = {"Expires": str(int(expires)), "Signature": signature, "Key-Pair-Id": "EMULATOR"}
        return f"{path}?{urlencode(query)}"

    def presigned(self, label: str, content: Content) -> str:
        """A path as Civitai's 307 names it: a bucket key and the parameters of an S3 presigned URL."""
        name = label.rpartition("/")[2]
        path = f"/civitai-delivery/{content.sha256[:16]}/{name}"
        expires = self._clock() + PRESIGNED_SECONDS
        signature = self._sign(Grant(label, content, path, expires, presigned=True))
        query = {
            "X-Amz-Expires": str(PRESIGNED_SECONDS),
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": signature,
        }
        return f"{quote(path)}?{urlencode(query)}"

    def find(self, path: str, query: Mapping[str, str]) -> Grant | None:
        """The grant behind a URL; None if it was not signed here."""
        for name in _SIGNATURES:
            grant = self._grants.get(query.get(name, ""))
            if grant is not None and grant.path == path:
                return grant
        return None

    def use(self, grant: Grant) -> bool:
        """Counts one use; False if the grant has expired, by the clock or because a fault says so."""
        grant.uses += 1
        for number, fault in enumerate(self._expiries):
            left = fault.times == "always" or self._expired[number, grant.label] < fault.times
            if left and grant.uses > fault.after and matches(fault.path, grant.label):
                if not grant.expired_early:
                    self._expired[number, grant.label] += 1
                grant.expired_early = True
        return not grant.expired_early and self._clock() < grant.expires

    def _sign(self, grant: Grant) -> str:
        message = f"{grant.path} {grant.expires} {next(self._serials)}".encode()
        signature = hmac.new(b"emulators.hub", message, hashlib.sha256).hexdigest()
        self._grants[signature] = grant
        return signature
