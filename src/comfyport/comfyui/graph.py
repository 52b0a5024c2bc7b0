"""The links of a workflow: which nodes an output needs, whether they go in a circle, how long a chain they make.

Nothing here calls itself: a workflow of ten thousand nodes in a row is answered too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

# node id -> ids of the nodes that it is linked to; those that are not there are left out.
Links = Mapping[str, list[str]]


def is_link(value: Any) -> bool:
    """Whether ComfyUI takes a value for a link: [node id, output number] (its comfy_execution/graph_utils.py)."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


def links(workflow: Mapping[str, Any], follow: Callable[[str, str], bool]) -> Links:
    """Where the inputs lead that `follow` names by node id and input."""
    return {
        node_id: [
            value[0]
            for name, value in node["inputs"].items()
            if is_link(value) and value[0] in workflow and follow(node_id, name)
        ]
        for node_id, node in workflow.items()
    }


def reached(starts: Iterable[str], along: Links) -> set[str]:
    """The nodes that `starts` need, themselves included."""
    found: set[str] = set()
    left = list(starts)
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += along[node]
    return found


def circle(among: set[str], along: Links) -> list[str]:
    """The nodes of one circle, in order; empty if there is none."""
    done: set[str] = set()
    for start in along:
        if start not in among or start in done:
            continue
        # A dict, since it finds a node at once and keeps the order.
        way: dict[str, Iterator[str]] = {start: iter(along[start])}
        while way:
            last = next(reversed(way))
            following = next(way[last], None)
            if following is None:
                done.add(last)
                del way[last]
            elif following in way:
                nodes = list(way)
                return nodes[nodes.index(following) :]
            elif following not in done:
                way[following] = iter(along[following])
    return []


def longest_chain(along: Links) -> int:
    """The most nodes in a row; where links go in a circle, at most all nodes."""
    waiting = {node: len(set(targets)) for node, targets in along.items()}
    needed_by: dict[str, set[str]] = {node: set() for node in along}
    for node, targets in along.items():
        for target in targets:
            needed_by[target].add(node)
    length = dict.fromkeys(along, 1)
    ready = [node for node, count in waiting.items() if count == 0]
    for node in ready:
        for user in needed_by[node]:
            length[user] = max(length[user], length[node] + 1)
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    in_circles = len(along) - len(ready)
    return max(length.values(), default=0) + in_circles
