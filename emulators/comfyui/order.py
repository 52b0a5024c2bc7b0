"""In which order the nodes of a prompt run."""

from collections.abc import Callable, Iterable

from emulators.comfyui.nodes import NODES
from emulators.comfyui.validate import Prompt, is_link


class Order:
    """The nodes that still have to run. Those that are cached are left out unless they are outputs."""

    def __init__(self, prompt: Prompt, outputs: Iterable[str], is_cached: Callable[[str], bool]) -> None:
        self._prompt = prompt
        self._needs: dict[str, set[str]] = {}
        self._feeds: dict[str, list[str]] = {}
        for output in outputs:
            self._add(output, is_cached)

    def _add(self, start: str, is_cached: Callable[[str], bool]) -> None:
        found = [start]
        while found:
            node_id = found.pop()
            if node_id in self._needs:
                continue
            links = (value for value in self._prompt[node_id]["inputs"].values() if is_link(value))
            sources = [link[0] for link in links if link[0] in self._prompt and not is_cached(link[0])]
            self._needs[node_id] = set(sources)
            self._feeds.setdefault(node_id, [])
            for source in sources:
                self._feeds.setdefault(source, []).append(node_id)
            found += sources

    def __bool__(self) -> bool:
        return bool(self._needs)

    def next(self) -> str:
        """The node to run now: an output if one is ready, else what is one or two steps from an output."""
        ready = [node_id for node_id, needs in self._needs.items() if not needs]
        for distance in range(3):
            for node_id in ready:
                if self._is_output_after(node_id, distance):
                    return node_id
        return ready[0]

    def done(self, node_id: str) -> None:
        """Takes a node off the list."""
        del self._needs[node_id]
        for fed in self._feeds[node_id]:
            self._needs[fed].discard(node_id)

    def _is_output_after(self, node_id: str, distance: int) -> bool:
        if distance == 0:
            return NODES[self._prompt[node_id]["class_type"]].output_node
        return any(self._is_output_after(fed, distance - 1) for fed in self._feeds[node_id])
