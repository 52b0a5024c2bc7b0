"""Remembers what nodes gave as long as the prompts that follow each other contain them unchanged."""

import hashlib
import json
import logging
import uuid
from typing import Any, TypeVar

from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Node
from emulators.comfyui.nodes import NODES
from emulators.comfyui.validate import Prompt, is_link

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Cache:
    """ComfyUI's cache: results are found by what they depend on, not by the id of the node.

    Its classic one holds the latest prompt's. `lru` holds more, up to that many results when a prompt begins; `none`
    forgets them all then.
    """

    def __init__(self, folders: Folders, *, lru: int = 0, none: bool = False) -> None:
        self.folders = folders
        self._lru = lru
        self._none = none
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._prompt: Prompt = {}
        self._keys: dict[str, str] = {}
        self._values: dict[str, tuple[Any, ...]] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._instances: dict[tuple[str, str], Node] = {}
        self._prompts = 0
        self._used: dict[str, int] = {}

    def begin(self, prompt: Prompt) -> None:
        """Takes up a prompt and forgets what it does not contain.

        A node with a fingerprint gets it as `is_changed` in the prompt itself, which is how it comes to
        stand in the metadata of saved files.
        """
        self._prompt, self._keys = prompt, {}
        for node_id in prompt:
            self._keys[node_id] = self._key(node_id, frozenset())
        self._prompts += 1
        self._used |= dict.fromkeys(self._keys.values(), self._prompts)
        self._values = self._kept(self._values)
        self._shown = self._kept(self._shown)
        present = {(node_id, node["class_type"]) for node_id, node in prompt.items()}
        self._instances = {place: node for place, node in self._instances.items() if place in present}

    def instance(self, node_id: str) -> Node:
        """The object that does a node's work."""
        kind = self._prompt[node_id]["class_type"]
        return self._instances.setdefault((node_id, kind), NODES[kind]())

    def values(self, node_id: str) -> tuple[Any, ...] | None:
        """A node's outputs, None if it must run."""
        return self._values.get(self._keys[node_id])

    def shown(self, node_id: str) -> dict[str, Any] | None:
        """What a node shows and which it is: `output` and `meta`, None if it shows nothing."""
        return self._shown.get(self._keys[node_id])

    def keep(self, node_id: str, values: tuple[Any, ...], shown: dict[str, list[Any]]) -> None:
        """Remembers what a node gave."""
        key = self._keys[node_id]
        self._values[key] = values
        if shown:
            meta = {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
            self._shown[key] = {"output": shown, "meta": meta}

    def all_shown(self) -> dict[str, dict[str, Any]]:
        """`shown` of every node of the prompt that shows something."""
        found = {node_id: self.shown(node_id) for node_id in self._prompt}
        return {node_id: shown for node_id, shown in found.items() if shown is not None}

    def _kept(self, results: dict[str, T]) -> dict[str, T]:
        """What is left of results by key when a prompt begins; an LRU cache forgets whole prompts, oldest first."""
        if self._none:
            return {}
        if not self._lru:
            return {key: result for key, result in results.items() if self._used[key] == self._prompts}
        oldest = 0
        while len(results) > self._lru and oldest < self._prompts:
            oldest += 1
            results = {key: result for key, result in results.items() if self._used[key] >= oldest}
        return results

    def _key(self, node_id: str, below: frozenset[str]) -> str:
        """A digest of what a node's result depends on; unlike any other if that cannot be said."""
        if node_id in self._keys:
            return self._keys[node_id]
        if node_id in below or node_id not in self._prompt:
            return uuid.uuid4().hex
        node = self._prompt[node_id]
        parts: list[Any] = [node["class_type"], self._fingerprint(node)]
        for name, value in sorted(node.get("inputs", {}).items()):
            if is_link(value):
                parts.append([name, self._key(value[0], below | {node_id}), value[1]])
            else:
                parts.append([name, value])
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _fingerprint(self, node: dict[str, Any]) -> Any:
        if "is_changed" not in node:
            kind = NODES[node["class_type"]]
            if kind.fingerprint is Node.fingerprint:
                return None
            try:
                node["is_changed"] = [kind().fingerprint(node["inputs"], self.folders)]
            except (OSError, KeyError, TypeError) as error:
                logger.warning("WARNING: %s", error)
                node["is_changed"] = float("nan")
                return uuid.uuid4().hex
        return node["is_changed"]
