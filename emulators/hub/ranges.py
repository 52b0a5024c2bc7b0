"""The rules of RFC 9110 for ranges and conditions: which part of a file a request is to be answered with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SINGLE_RANGE = re.compile(r"bytes\s*=\s*(?:(\d+)\s*-\s*(\d*)|-\s*(\d+))\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """The answer to a request for a file: `status`, and `length` bytes from `start` on."""

    status: int
    start: int
    length: int
    content_range: str | None = None
    """The value of the `Content-Range` header, where the status wants one (206, 416)."""


def select(method: str, headers: Mapping[str, str], *, size: int, etag: str) -> Selection:
    """Applies conditions in the order of section 13.2.2, then `Range` (section 14.2: for GET only)."""
    if "If-Match" in headers and not _matches(headers["If-Match"], etag, weak=False):
        return Selection(412, 0, 0)
    if "If-None-Match" in headers and _matches(headers["If-None-Match"], etag, weak=True):
        return Selection(304, 0, 0)
    asked = headers.get("Range")
    if method != "GET" or asked is None or not _still_current(headers.get("If-Range"), etag):
        return Selection(200, 0, size)
    return select_range(asked, size=size)


def select_range(asked: str, *, size: int) -> Selection:
    """The part that a `Range` value names.

    What cannot be understood, several ranges at once, and a suffix of nothing are answered with all of it,
    which section 14.2 allows; a range that starts behind the end is answered with 416.
    """
    match = _SINGLE_RANGE.fullmatch(asked.strip())
    if match is None:
        return Selection(200, 0, size)
    first, last, suffix = match.groups()
    if suffix is not None:
        return _suffix(int(suffix), size)
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return Selection(200, 0, size)
    if start >= size:
        return unsatisfiable(size)
    return _part(start, end, size)


def unsatisfiable(size: int) -> Selection:
    """416, with the size that the range should have fitted (section 15.5.17)."""
    return Selection(416, 0, 0, f"bytes */{size}")


def _suffix(count: int, size: int) -> Selection:
    if count == 0:
        return unsatisfiable(size)
    if size == 0:
        return Selection(200, 0, 0)
    return _part(max(size - count, 0), size - 1, size)


def _part(start: int, end: int, size: int) -> Selection:
    return Selection(206, start, end - start + 1, f"bytes {start}-{end}/{size}")


def _still_current(if_range: str | None, etag: str) -> bool:
    """Strong comparison (section 13.1.5); a date never matches, for no `Last-Modified` is sent."""
    return if_range is None or (if_range.strip() == etag and not etag.startswith("W/"))


def _matches(condition: str, etag: str, *, weak: bool) -> bool:
    if condition.strip() == "*":
        return True
    tags = [tag.strip() for tag in condition.split(",")]
    if weak:
        return etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]
    return etag in tags and not etag.startswith("W/")
