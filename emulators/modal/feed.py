"""A list that only grows and that any number of readers can follow while it does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """Items in the order in which they came; `close` says that no more will come."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.closed = False
        self._changed = asyncio.Event()

    def put(self, item: Item) -> None:
        """Adds one item and wakes every reader."""
        self.items.append(item)
        self._wake()

    def close(self) -> None:
        """Ends the feed: readers stop after the last item."""
        self.closed = True
        self._wake()

    async def follow(self, start: int = 0, *, seconds: float | None = None) -> AsyncIterator[Item]:
        """Yields the items from index `start` on, until the feed is closed or `seconds` have passed."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        while True:
            while start < len(self.items):
                yield self.items[start]
                start += 1
            if self.closed or not await self._wait(deadline):
                return

    async def _wait(self, deadline: float | None) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
