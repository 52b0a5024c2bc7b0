"""The stop of a worker whose SDK we leave as it is."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from comfyport.serve.host import Host

IDLE_SECONDS = 0.3


class StopOnSignal:
    """Ends the process soon after SIGTERM, where the SDK alone would wait for its long poll.

    The SDK asks its concurrency modifier before each job that it takes, after it has set its own signal handlers: the
    first time, ours goes in front of them. One job at a time: ComfyUI has one GPU. `grace` is how many seconds the
    running job then has.
    """

    def __init__(self, host: Host, *, grace: float) -> None:
        self._host = host
        self._grace = grace
        self._installed = False
        self._asked = False

    def __call__(self, _current: int) -> int:
        """The SDK's concurrency: one."""
        if not self._installed:
            self._installed = True
            self._stop_taking: Any = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self._on_signal)
        return 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise SystemExit(128 + number if self._host.worker.active else 0)
        self._asked = True
        if callable(self._stop_taking):
            self._stop_taking(number, frame)
        threading.Thread(target=self._ask_again, args=(number,), name="stop", daemon=True).start()

    def _ask_again(self, number: int) -> None:
        """Lets the running job end, within reason; then the same signal, to whose second coming nothing is deaf."""
        end = time.monotonic() + self._grace
        idle_since = time.monotonic()
        while time.monotonic() < end and time.monotonic() - idle_since < IDLE_SECONDS:
            if self._host.worker.active:
                idle_since = time.monotonic()
            time.sleep(0.05)
        os.kill(os.getpid(), number)
