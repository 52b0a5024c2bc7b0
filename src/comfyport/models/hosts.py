"""How many connections a host gets: fewer when it refuses, more while that pays."""

import threading
import time
from collections.abc import Callable

FIRST = 8
STEP = 4
# A window long enough to smooth bursts, short enough that a download of seconds still finds its level.
WINDOW_SECONDS = 0.4
PAYS = 1.08
# Some hosts answer too many streams not with 429 but with a crawl (huggingface_hub issue 4893: 300 -> 1 MB/s).
COLLAPSE = 0.25
COLLAPSE_SECONDS = 10.0
AFTER_COLLAPSE = 4
# After a refusal the limit may grow again, slowly.
RECOVERY_SECONDS = 5.0


class Host:
    """The limit of one host, between 1 and `most`; `clock` in seconds."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.limit = min(FIRST, most)
        self.in_use = 0
        self.not_before = 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._window_start = clock()
        self._window_bytes = 0
        self._best = 0.0
        self._slow_since: float | None = None
        self._growing = True
        self._refused_at = 0.0

    def has_room(self) -> bool:
        """Whether another connection may be opened now."""
        return self.in_use < self.limit and self._clock() >= self.not_before

    def received(self, size: int) -> None:
        """Counts bytes, and at the end of a window decides whether more connections would pay."""
        with self._lock:
            self._window_bytes += size
            elapsed = self._clock() - self._window_start
            if elapsed >= WINDOW_SECONDS:
                self._judge(self._window_bytes / elapsed)
                self._window_start, self._window_bytes = self._clock(), 0

    def refused(self, after: float) -> None:
        """Halves the limit: the host has too much of us (429, 503). `after`: seconds it asks us to stay away."""
        with self._lock:
            now = self._clock()
            # Connections that were open together are refused together: that is one refusal.
            if now - self._refused_at > 1.0:
                self.limit = max(1, self.limit // 2)
            self._refused_at = now
            self.not_before = max(self.not_before, now + after)
            self._growing = False

    def _judge(self, rate: float) -> None:
        now = self._clock()
        if rate < self._best * COLLAPSE:
            self._slow_since = self._slow_since or now
            if now - self._slow_since > COLLAPSE_SECONDS and self.limit > AFTER_COLLAPSE:
                self.limit, self._best, self._growing, self._slow_since = AFTER_COLLAPSE, rate, False, None
            return
        self._slow_since = None
        if self._growing and self.in_use >= self.limit:
            if rate > self._best * PAYS:
                self.limit = min(self.most, self.limit + STEP)
            else:
                self._growing = False
        elif not self._growing and self._refused_at and now - self._refused_at > RECOVERY_SECONDS:
            self.limit, self._refused_at = min(self.most, self.limit + 1), now
        self._best = max(self._best, rate)
