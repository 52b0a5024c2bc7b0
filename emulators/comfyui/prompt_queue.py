"""The prompts that wait, the one that runs, and the history of those that ran."""

import copy
import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emulators.comfyui.validate import Prompt

SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
"""Extra data that the history does not keep."""


@dataclass(order=True)
class Queued:
    """A prompt in the queue; the lowest number runs first."""

    number: float
    prompt_id: str
    prompt: Prompt = field(compare=False)
    extra_data: dict[str, Any] = field(compare=False)
    outputs: list[str] = field(compare=False)

    def as_list(self) -> list[Any]:
        """As /queue and /history show it."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


class PromptQueue:
    """Shared by the web server and the worker. `changed` is called after each change of the queue's length."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = threading.RLock()
        self._filled = threading.Condition(self._lock)
        self._closed = False
        self._waiting: list[Queued] = []
        self._running: list[Queued] = []
        self._history: dict[str, dict[str, Any]] = {}
        self._free_memory = False

    def put(self, queued: Queued) -> None:
        """Lines a prompt up."""
        with self._lock:
            heapq.heappush(self._waiting, queued)
            self._changed()
            self._filled.notify()

    def take(self) -> Queued | None:
        """Waits for the next prompt; None if there is something else to do (`wants_memory`, `closed`)."""
        with self._lock:
            if not self._waiting and not self._free_memory and not self._closed:
                self._filled.wait()
            if not self._waiting or self._closed:
                return None
            queued = heapq.heappop(self._waiting)
            self._running.append(copy.deepcopy(queued))
            self._changed()
            return queued

    def finish(self, result: dict[str, Any], status: dict[str, Any]) -> None:
        """Moves the running prompt to the history."""
        with self._lock:
            shown = self._running.pop()
            for secret in SECRETS:
                shown.extra_data.pop(secret, None)
            entry = {"prompt": shown.as_list(), "outputs": {}, "status": copy.deepcopy(status), **result}
            self._history[shown.prompt_id] = entry
            self._changed()

    def close(self) -> None:
        """Lets `take` return for good."""
        with self._lock:
            self._closed = True
            self._filled.notify()

    @property
    def closed(self) -> bool:
        """Whether the worker should end."""
        return self._closed

    def remaining(self) -> int:
        """How many prompts wait or run."""
        with self._lock:
            return len(self._waiting) + len(self._running)

    def running(self) -> list[list[Any]]:
        """The prompt that runs, in a list."""
        with self._lock:
            return [queued.as_list() for queued in self._running]

    def waiting(self) -> list[list[Any]]:
        """The prompts that wait; the first runs next, the others are in no order."""
        with self._lock:
            return [queued.as_list() for queued in self._waiting]

    def clear(self) -> None:
        """Forgets the prompts that wait."""
        with self._lock:
            self._waiting.clear()
            self._changed()

    def delete(self, prompt_id: str) -> None:
        """Takes one waiting prompt out; nothing happens if there is none."""
        with self._lock:
            for queued in self._waiting:
                if queued.prompt_id == prompt_id:
                    self._waiting.remove(queued)
                    heapq.heapify(self._waiting)
                    self._changed()
                    return

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, dict[str, Any]]:
        """The prompts that ran, oldest first: the last `max_items`, or as many from `offset` on."""
        with self._lock:
            if offset < 0 and max_items is not None:
                offset = len(self._history) - max_items
            start = max(offset, 0)
            end = None if max_items is None else start + max(max_items, 1)
            return dict(list(self._history.items())[start:end])

    def history_of(self, prompt_id: str) -> dict[str, dict[str, Any]]:
        """One prompt's entry below its id; empty while it has not ended."""
        with self._lock:
            return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}

    def forget(self, prompt_id: str | None = None) -> None:
        """Deletes one entry of the history, or all of them."""
        with self._lock:
            if prompt_id is None:
                self._history.clear()
            else:
                self._history.pop(prompt_id, None)

    def free_memory(self) -> None:
        """Asks the worker to empty its cache once it has nothing else to do."""
        with self._lock:
            self._free_memory = True
            self._filled.notify()

    def wants_memory(self) -> bool:
        """Whether the cache should be emptied; asks once."""
        with self._lock:
            wanted, self._free_memory = self._free_memory, False
            return wanted
