"""What the client of a prompt is told about it: ComfyUI's messages, some of which the history keeps."""

import time
from typing import Any

from emulators.comfyui.faults import Faults
from emulators.comfyui.node import Preview
from emulators.comfyui.sockets import Sockets


class Progress:
    """The messages of one prompt. `client_id` is None if nobody asked to hear of it."""

    def __init__(self, sockets: Sockets, faults: Faults, prompt_id: str, client_id: str | None) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        """Those that the history keeps, as (event, data)."""
        self._sockets = sockets
        self._faults = faults
        self._prompt_id = prompt_id
        self._client_id = client_id
        self._states: dict[str, dict[str, Any]] = {}

    def note(self, event: str, *, to_all: bool = False, **data: Any) -> None:
        """Says something that the history keeps too; `to_all` reaches everyone if the prompt has no client."""
        told = {**data, "prompt_id": self._prompt_id, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, told))
        lost = event == "execution_success" and "lose_success" in self._faults
        if (self._client_id is not None or to_all) and not lost:
            self._sockets.say(event, told, self._client_id)

    def started(self, node_id: str) -> None:
        """A node begins."""
        self._state(node_id, 0.0, 1.0, "running")
        if self._client_id is not None:
            self._sockets.node_id = node_id
            self._tell("executing", node=node_id, display_node=node_id)

    def advanced(self, node_id: str, value: int, maximum: int, preview: Preview | None) -> None:
        """A node got as far as `value` of `maximum`."""
        self._state(node_id, value, maximum, "running")
        told = {"value": value, "max": maximum, "prompt_id": self._prompt_id, "node": node_id}
        self._sockets.say("progress", told, self._client_id)
        if preview is not None:
            metadata = {"node_id": node_id, "prompt_id": self._prompt_id, **_places(node_id)}
            self._sockets.show(preview, metadata, self._client_id)

    def showed(self, node_id: str, output: dict[str, Any] | None) -> None:
        """A node has something to show."""
        if self._client_id is not None:
            self._tell("executed", node=node_id, display_node=node_id, output=output)

    def finished(self, node_id: str) -> None:
        """A node is done."""
        maximum = self._states.get(node_id, {}).get("max", 1)
        self._state(node_id, maximum, maximum, "finished")

    def ended(self) -> None:
        """No node of the prompt is executing any more."""
        if self._client_id is not None and "lose_success" not in self._faults:
            self._tell("executing", node=None)

    def _tell(self, event: str, **data: Any) -> None:
        self._sockets.say(event, {**data, "prompt_id": self._prompt_id}, self._client_id)

    def _state(self, node_id: str, value: float, maximum: float, state: str) -> None:
        self._states[node_id] = {
            "value": value, "max": maximum, "state": state,
            "node_id": node_id, "prompt_id": self._prompt_id, **_places(node_id),
        }  # fmt: skip
        told = {"prompt_id": self._prompt_id, "nodes": self._states}
        self._sockets.say("progress_state", told, self._client_id)


def _places(node_id: str) -> dict[str, str | None]:
    return {"display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}
