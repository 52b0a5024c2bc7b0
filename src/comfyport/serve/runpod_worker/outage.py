"""How a request that fails again and again is repeated: later each time, and with a line in the log once a minute."""

import logging
import random
import time
from collections.abc import Callable

import aiohttp

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 15.0
# Uncapped, a refused connection gave a million lines in seven minutes (runpod 1.12.0).
LINE_SECONDS = 60.0
# What a request can fail of before there is an answer; a TimeoutError is an OSError.
NETWORK_ERRORS = (aiohttp.ClientError, OSError)


def reason(error: BaseException) -> str:
    """A failed request in words, without the address that was asked: its query may hold a key."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}"
    return type(error).__name__ if isinstance(error, NETWORK_ERRORS) else f"{type(error).__name__}: {error}"


class Outage:
    """The failures in a row of one kind of request, named by `task` in the log."""

    def __init__(self, task: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._task = task
        self._clock = clock
        self._failures = 0
        self._said_at = 0.0

    def failed(self, reason: str) -> float:
        """Notes a failure; the seconds to wait before the next try."""
        self._failures += 1
        if self._failures == 1 or self._clock() - self._said_at >= LINE_SECONDS:
            self._said_at = self._clock()
            logger.warning("RunPod: %s failed failures=%d reason=%s", self._task, self._failures, reason)
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._failures - 1, 10))
        # Spread, so that the workers of an endpoint do not come back all at once.
        return longest * random.uniform(0.5, 1.0)  # noqa: S311

    def over(self) -> None:
        """Notes a success."""
        if self._failures:
            logger.info("RunPod: %s works again failures=%d", self._task, self._failures)
        self._failures = 0
