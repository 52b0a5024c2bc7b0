"""The faults that can be asked for by name, each `NAME` or `NAME=NUMBER`."""

import threading
from collections.abc import Iterable

ALWAYS = float("inf")

FAULTS: dict[str, tuple[float, str]] = {
    "drop_websocket": (3, "cut the first websocket that has been sent NUMBER (3) messages"),
    "drop_every_websocket": (3, "cut every websocket that has been sent NUMBER (3) messages"),
    "lose_success": (ALWAYS, "never send execution_success, nor that nothing is executing any more"),
    "hang": (ALWAYS, "the first node of a prompt never ends, and an interrupt does nothing"),
    "slow_start": (5, "listen only after NUMBER (5) seconds"),
    "crash_before": (ALWAYS, "die when a prompt has been taken, before its first message"),
    "crash_during": (ALWAYS, "die after the first node of a prompt that was not cached"),
    "crash_after": (ALWAYS, "die when a prompt's files are saved, before it is reported as done"),
    "oom": (ALWAYS, "the GPU runs out of memory in the first NUMBER (all) nodes that sample, decode or scale"),
    "impossible_prompt": (ALWAYS, "the first NUMBER (all) texts with the word 'impossible' in them fail to be encoded"),
    "view_500": (ALWAYS, "answer the first NUMBER (all) GET /view with status 500"),
    "upload_500": (ALWAYS, "answer the first NUMBER (all) POST /upload/image with status 500"),
    "prompt_400_odd_body": (ALWAYS, "answer the first NUMBER (all) POST /prompt with 400 and a page of HTML"),
    "upload_200_odd_body": (ALWAYS, "answer the first NUMBER (all) POST /upload/image with 200 and a page of HTML"),
    "prompt_200_odd_body": (ALWAYS, "answer the first NUMBER (all) POST /prompt with 200 and a page of HTML"),
    "output_vanishes": (ALWAYS, "delete what a prompt saved before it is reported as done"),
}


class Faults:
    """What was asked for. `Faults(["hang", "view_500=2"])`; an unknown name is a ValueError."""

    def __init__(self, wanted: Iterable[str] = ()) -> None:
        self._left: dict[str, float] = {}
        self._spent: set[str] = set()
        self._lock = threading.Lock()
        for fault in wanted:
            name, _, number = fault.partition("=")
            if name not in FAULTS:
                raise ValueError(f"There is no fault {name!r}. There are: {', '.join(FAULTS)}.")
            self._left[name] = float(number) if number else FAULTS[name][0]

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def number(self, name: str) -> float:
        """The number that came with the fault, 0 if it was not asked for."""
        return self._left.get(name, 0)

    def strikes(self, name: str) -> bool:
        """Whether the fault happens this time; counts down the times that are left."""
        with self._lock:
            left = self._left.get(name, 0)
            if left < 1:
                return False
            self._left[name] = left - 1
            return True

    def only_once(self, name: str) -> bool:
        """True the first time it is asked for a fault whose number means something else than times."""
        with self._lock:
            first = name not in self._spent
            self._spent.add(name)
            return first
