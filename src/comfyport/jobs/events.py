"""What a job tells those who watch it. An observer can never break a job."""

import base64
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from comfyport.comfyui.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelsAwaited:
    """Models that the workflow names are still being downloaded; seconds are None while nobody can tell."""

    models: tuple[str, ...]
    bytes_left: int
    seconds_left: float | None

    def as_json(self) -> dict[str, Any]:
        """The event as the doors send it."""
        return {"type": "waiting_for_models", **asdict(self), "models": list(self.models)}


@dataclass(frozen=True)
class Preview:
    """What the picture of a node looks like so far, as ComfyUI encoded it."""

    node_id: str
    media_type: str
    content: bytes

    def as_json(self) -> dict[str, Any]:
        """The event as the doors send it."""
        data = base64.b64encode(self.content).decode("ascii")
        return {"type": "preview", "node_id": self.node_id, "media_type": self.media_type, "data": data}


Event = ModelsAwaited | Progress | Preview
Observer = Callable[[Event], None]


def unobserved(event: Event) -> None:
    """The observer of a job that nobody watches."""


def shielded(observer: Observer) -> Observer:
    """`observer`, whose errors end in the log instead of in a job."""

    def observe(event: Event) -> None:
        try:
            observer(event)
        except Exception:
            logger.exception("an observer of a job failed")

    return observe
