"""Workflows in the editor's format, as far as reading them needs it."""

from typing import Any

Json = dict[str, Any]


def workflow(*nodes: Json, subgraphs: tuple[Json, ...] = (), **more: Any) -> Json:
    """A whole file."""
    return {"nodes": list(nodes), "links": [], "definitions": {"subgraphs": list(subgraphs)}, "version": 0.4, **more}


def node(
    number: int, kind: str, *values: Any, widgets: tuple[str, ...] = (), models: Any = None, mode: int = 0
) -> Json:
    """A node; `widgets` are the names of its inputs that have a widget, as editors since 2025 write them."""
    inputs = [{"name": name, "type": "COMBO", "widget": {"name": name}, "link": None} for name in widgets]
    properties = {"models": models} if models is not None else {}
    return {
        "id": number,
        "type": kind,
        "mode": mode,
        "inputs": inputs,
        "widgets_values": list(values),
        "properties": properties,
    }


def noted(name: str, directory: str = "checkpoints", **more: Any) -> Json:
    """What `properties.models` says of a file of the repository o/r."""
    return {"name": name, "url": f"https://huggingface.co/o/r/resolve/main/{name}", "directory": directory, **more}


def subgraph(number: int | str, *nodes: Json, promoted: tuple[tuple[int, int], ...] = ()) -> Json:
    """A definition; each of `promoted` is a node and the place among its inputs that an own input leads to."""
    links = [
        {"id": link, "origin_id": -10, "origin_slot": link, "target_id": target, "target_slot": slot, "type": "COMBO"}
        for link, (target, slot) in enumerate(promoted)
    ]
    inputs = [
        {"id": f"input-{link['id']}", "name": f"promoted_{link['id']}", "linkIds": [link["id"]]} for link in links
    ]
    return {"id": str(number), "name": "a subgraph", "inputs": inputs, "nodes": list(nodes), "links": links}
