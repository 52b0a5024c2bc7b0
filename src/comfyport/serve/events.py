"""What a job has told so far, numbered, for as many readers as like to follow, each at its own pace.

Nothing is kept per reader: each asks for what came after the last number that it has seen. So a slow one costs
nothing, and one that comes back misses nothing that is still here.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from comfyport.jobs.events import Event, Preview

# A workflow of 30 nodes and 100 steps tells about 130; more than these are dropped, the oldest first.
BACKLOG_EVENTS = 256
SMALL = 256


@dataclass(frozen=True)
class StatusChanged:
    """The job waits now, or is at work."""

    status: str

    def as_json(self) -> dict[str, Any]:
        """The event as the door sends it."""
        return {"type": "status", "status": self.status}


@dataclass(frozen=True)
class Ended:
    """The job is over: its last event, unless it is run again."""

    status: str

    def as_json(self) -> dict[str, Any]:
        """The event as the door sends it where the result itself is asked for elsewhere."""
        return {"type": "result", "status": self.status}


@dataclass(frozen=True)
class Heard:
    """An event that another process told, in the form that the door sends."""

    content: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The event as the door sends it."""
        return dict(self.content)


class Tellable(Protocol):
    """Whatever a job tells."""

    def as_json(self) -> dict[str, Any]:
        """The event as the door sends it; `type` says which."""


class News(Protocol):
    """What a reader waits for; an asyncio.Event is one."""

    async def wait(self) -> object:
        """Returns when there is more to read."""


@dataclass(frozen=True)
class Told:
    """One event and its number, from 1 on."""

    number: int
    event: Tellable


class Backlog:
    """The latest events of one job. A preview replaces the one before it."""

    def __init__(self, limit: int = BACKLOG_EVENTS) -> None:
        self._told: deque[Told] = deque(maxlen=limit)
        self._preview: Told | None = None
        self._handed_out = 0
        self._news = asyncio.Event()
        self.last = 0
        self.progress: Tellable | None = None

    @property
    def size(self) -> int:
        """Bytes in memory, roughly."""
        picture = self._preview.event if self._preview else None
        return SMALL * len(self._told) + (len(picture.content) if isinstance(picture, Preview) else 0)

    @property
    def news(self) -> News:
        """Set as soon as the next event is there. Take it before asking what there is."""
        return self._news

    def add(self, event: Event | StatusChanged | Ended) -> None:
        """Takes an event in and wakes whoever waits."""
        self.last += 1
        told = Told(self.last, event)
        if isinstance(event, Preview):
            if self._preview and self._preview in self._told:
                self._told.remove(self._preview)
            self._preview = told
        elif isinstance(event, StatusChanged):
            self.progress = None
        elif not isinstance(event, Ended):
            self.progress = event
        self._told.append(told)
        self._news.set()
        self._news = asyncio.Event()

    def replace(self, told: Iterable[Told], progress: Tellable | None) -> None:
        """Takes what was told elsewhere in place of what is here; the latest are kept."""
        self._told = deque(told, maxlen=self._told.maxlen)
        self.last = self._told[-1].number if self._told else 0
        self.progress = progress

    def after(self, number: int) -> list[Told]:
        """The events that are kept and came after that number."""
        return [told for told in self._told if told.number > number]

    def unread(self) -> list[Told]:
        """What was not handed out by this method before: RunPod's `/stream` gives everything once."""
        fresh = self.after(self._handed_out)
        self._handed_out = self.last
        return fresh

    def clear(self) -> None:
        """Forgets everything but the last event."""
        self._preview = None
        self._told = deque(list(self._told)[-1:], maxlen=self._told.maxlen)
