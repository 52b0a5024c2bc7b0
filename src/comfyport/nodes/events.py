"""What a sync of nodes tells those who watch it. An observer can never break what it observes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeStarted:
    """A node is being fetched."""

    name: str
    source: str


@dataclass(frozen=True)
class NodeReady:
    """A node stands at its place, whole and as it is pinned."""

    name: str
    pin: str
    seconds: float


@dataclass(frozen=True)
class NodeFailed:
    """A node could not be brought, or its packages could not."""

    name: str
    code: str
    message: str


@dataclass(frozen=True)
class PackagesStarted:
    """The packages that these nodes ask for are being resolved and installed."""

    names: tuple[str, ...]


Event = NodeStarted | NodeReady | NodeFailed | PackagesStarted
Observer = Callable[[Event], None]


def shielded(observer: Observer) -> Observer:
    """`observer`, whose errors end in the log instead of in a sync."""

    def observe(event: Event) -> None:
        try:
            observer(event)
        except Exception:
            logger.exception("an observer of the nodes failed")

    return observe
