"""What the downloader tells those who watch it. An observer can never break what it observes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileStarted:
    """A file is being fetched, or read to find out whether it is right; `size` in bytes if known.

    `bytes_there`: what an earlier download has left of it.
    """

    path: str
    size: int | None
    bytes_there: int = 0


@dataclass(frozen=True)
class FileAdvanced:
    """A file has this many bytes now; less than before after a fresh start."""

    path: str
    bytes_done: int


@dataclass(frozen=True)
class FileReady:
    """A file stands at its place, whole and right."""

    path: str
    size: int


@dataclass(frozen=True)
class FileFailed:
    """A file could not be brought."""

    path: str
    code: str
    message: str


class Stopped(Exception):
    """The work was asked to stop."""


Event = FileStarted | FileAdvanced | FileReady | FileFailed
Observer = Callable[[Event], None]


def shielded(observer: Observer) -> Observer:
    """`observer`, whose errors end in the log instead of in a download."""

    def observe(event: Event) -> None:
        try:
            observer(event)
        except Exception:
            logger.exception("an observer of the download failed")

    return observe
