"""A workflow as ComfyUI's editor saves it: its nodes, those within subgraphs too, with the values that count.

    {"nodes": [{"id": 4, "type": "VAELoader", "mode": 0, "inputs": […], "widgets_values": ["a.safetensors"],
     "properties": {"models": [{"name": "a.safetensors", "url": "https://…", "directory": "vae"}]}}],
     "links": […], "definitions": {"subgraphs": [{"id": "<uuid>", "inputs": […], "nodes": […], "links": […]}]}}

A node whose type is the id of a subgraph stands for all of that subgraph's nodes. Its own widget values take the place
of theirs: one for each of the subgraph's inputs that leads to a widget, in order (ComfyUI_frontend's ADR 0009; so it is
in all 116 such nodes of comfyui-workflow-templates-json 0.1.123). Nodes that are muted or bypassed do not run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# litegraph's LGraphEventMode.
_SWITCHED_OFF = (2, 4)
# The editor allows subgraphs within subgraphs; one that holds itself was not made by it.
_DEEPEST = 30
_SEED_CONTROLS = ("fixed", "increment", "decrement", "randomize")

# (node id, input name) -> the value that an instance of the subgraph gives it
_Given = Mapping[tuple[Any, str], Any]


@dataclass(frozen=True)
class EditorNode:
    """A node that does something: `id` is `instance:node` within a subgraph; `values` are its widgets' values.

    A value has the name of its input, or `#` and its number where the file does not tell. `properties` are what else
    the editor notes of it; `is_active` is false if it, or a subgraph around it, is muted or bypassed.
    """

    id: str
    type: str
    values: tuple[tuple[str, Any], ...]
    properties: Mapping[str, Any]
    is_active: bool


def is_editor_format(document: Any) -> bool:
    """Whether a JSON document is a workflow as the editor saves it."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list)


def nodes(workflow: Mapping[str, Any]) -> Iterator[EditorNode]:
    """All nodes that do something, in the order of the file; what is no node is passed over."""
    definitions = workflow.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    subgraphs = {str(each.get("id")): each for each in _objects(listed)}
    yield from _nodes(workflow, subgraphs, prefix="", given={}, is_active=True, depth=0)


def _nodes(
    graph: Mapping[str, Any],
    subgraphs: Mapping[str, dict[str, Any]],
    *,
    prefix: str,
    given: _Given,
    is_active: bool,
    depth: int,
) -> Iterator[EditorNode]:
    for node in _objects(graph.get("nodes")):
        node_id = f"{prefix}{node.get('id')}"
        runs = is_active and node.get("mode") not in _SWITCHED_OFF
        subgraph = subgraphs.get(str(node.get("type")))
        if subgraph is None:
            values = tuple(_values(node, given))
            properties = node.get("properties")
            yield EditorNode(
                node_id, str(node.get("type")), values, properties if isinstance(properties, dict) else {}, runs
            )
        elif depth < _DEEPEST:
            inner = _given_within(node, subgraph, given)
            yield from _nodes(subgraph, subgraphs, prefix=f"{node_id}:", given=inner, is_active=runs, depth=depth + 1)


def _values(node: dict[str, Any], given: _Given) -> Iterator[tuple[str, Any]]:
    """A node's values: those that a subgraph's instance gives, else its own."""
    from_outside = {name: value for (node_id, name), value in given.items() if node_id == node.get("id")}
    own = dict(_named(node))
    yield from {**{name: value for name, value in own.items() if name not in from_outside}, **from_outside}.items()


def _named(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    values = node.get("widgets_values")
    if isinstance(values, dict):
        yield from ((str(name), value) for name, value in values.items())
        return
    values = values if isinstance(values, list) else []
    names = [name for name, is_widget in _inputs(node) if is_widget]
    if len(names) != len(values):
        values = [value for place, value in enumerate(values) if not _is_control(values, place)]
    if len(names) == len(values):
        yield from zip(names, values, strict=True)
    else:
        # Saved by an editor of before 2025, or with widgets that are no inputs.
        yield from ((f"#{place}", value) for place, value in enumerate(values))


def _given_within(instance: dict[str, Any], subgraph: dict[str, Any], given: _Given) -> _Given:
    """What an instance of a subgraph gives the widgets of the nodes within."""
    widgets = [
        (str(each.get("name")), targets)
        for each in _objects(subgraph.get("inputs"))
        if (targets := _widgets_behind(each, subgraph))
    ]
    values = instance.get("widgets_values")
    names = [name for name, _ in widgets]
    told = dict(zip(names, values, strict=True)) if isinstance(values, list) and len(values) == len(names) else {}
    told |= {name: value for (node_id, name), value in given.items() if node_id == instance.get("id")}
    return {target: told[name] for name, targets in widgets if name in told for target in targets}


def _widgets_behind(entrance: dict[str, Any], subgraph: dict[str, Any]) -> list[tuple[Any, str]]:
    """The nodes and their inputs that one of a subgraph's inputs leads to, as far as those are widgets."""
    ids = entrance.get("linkIds")
    leading = [link for link in _objects(subgraph.get("links")) if isinstance(ids, list) and link.get("id") in ids]
    inputs = {node.get("id"): _inputs(node) for node in _objects(subgraph.get("nodes"))}
    found = []
    for link in leading:
        slot, beside = link.get("target_slot"), inputs.get(link.get("target_id"), [])
        if isinstance(slot, int) and 0 <= slot < len(beside) and beside[slot][1]:
            found.append((link.get("target_id"), beside[slot][0]))
    return found


def _is_control(values: list[Any], place: int) -> bool:
    """Whether a value is that of the widget behind a seed, which is no input: what becomes of the seed next time."""
    before = values[place - 1] if place else None
    return values[place] in _SEED_CONTROLS and isinstance(before, int) and not isinstance(before, bool)


def _inputs(node: dict[str, Any]) -> list[tuple[str, bool]]:
    """The names of a node's inputs, and whether each is a widget too."""
    return [(str(each.get("name")), bool(each.get("widget"))) for each in _objects(node.get("inputs"))]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
