"""Wakes everything that waits for something to happen, so that nothing has to poll."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Bell:
    """Rung after every change; whoever waits looks again whether it was the change that it waits for."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def ring(self) -> None:
        """Wakes all who wait. Only from the event loop's own thread."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Lets all who wait leave with what they have, now and from now on."""
        self._closed = True
        self.ring()

    async def until(self, look: Callable[[], T], seconds: float) -> T:
        """The first true answer of `look`, asked now and at every ring, or the last when time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (answer := look()) and loop.time() < deadline and not self._closed:
            future = loop.create_future()
            self._waiting.add(future)
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(future, deadline - loop.time())
            finally:
                self._waiting.discard(future)
        return answer
