"""SIGTERM and SIGINT end a command soon, whatever its threads wait for."""

import os
import signal
import sys
import threading

# A thread that waits for a silent server, or a disk, hears of a stop only when its wait ends.
STOP_SECONDS = 2.0


def stop_on_signal() -> threading.Event:
    """An event that both signals set; the process ends with 128 + signal soon after."""
    stop = threading.Event()

    def ask_to_stop(number: int, _frame: object) -> None:
        stop.set()
        end = threading.Timer(STOP_SECONDS, os._exit, (128 + number,))
        end.daemon = True
        end.start()
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    return stop
