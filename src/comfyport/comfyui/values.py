"""Puts values into a workflow by words that a person would use: `6.text`, `Positive prompt.text`, `KSampler.seed`."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from comfyport.comfyui.workflow import Workflow, is_link
from comfyport.errors import InvalidJob

SHOWN = 20


def with_values(workflow: Workflow, values: Mapping[str, Any]) -> Workflow:
    """The workflow with each value set at `<node>.<input>`, where the node is told by its id, its title or its class.

    An id goes before a title, a title before a class. Only inputs that the node has can be set, links among them.
    Raises InvalidJob with all that cannot be set, and what there is instead.
    """
    changed = dict(workflow)
    problems: list[str] = []
    for target, value in values.items():
        try:
            node_id, name = _found(workflow, target)
            _check_link(workflow, value)
        except _NotThere as error:
            problems.append(f"{target!r}: {error}")
            continue
        node = changed[node_id]
        changed[node_id] = {**node, "inputs": {**node["inputs"], name: value}}
    if problems:
        listed = "\n".join(f"• {problem}" for problem in problems)
        raise InvalidJob(f"'set' names what the workflow does not have:\n{listed}", problems=problems)
    return changed


class _NotThere(Exception):
    """One target of `set` that leads nowhere, or to more than one place."""


def _found(workflow: Workflow, target: str) -> tuple[str, str]:
    """The node id and the input that a target means. Titles and inputs may contain dots, so each dot is tried."""
    dots = [place for place, character in enumerate(target) if character == "."]
    splits = [(target[:dot], target[dot + 1 :]) for dot in dots]
    if not splits:
        raise _NotThere("write <node>.<input>, for example 6.text")
    known = [(node, name, ids) for node, name in splits if (ids := _nodes(workflow, node))]
    if not known:
        raise _NotThere(f"there is no node {splits[-1][0]!r}{_instead(splits[-1][0], _names(workflow))}")
    places = {(node_id, name) for _, name, ids in known for node_id in ids if name in _inputs(workflow[node_id])}
    if len(places) == 1:
        return places.pop()
    if places:
        choice = ", ".join(sorted(f"{node_id}.{name}" for node_id, name in places))
        raise _NotThere(f"that could be {choice}; write the one that you mean")
    node, name, ids = known[-1]
    there = sorted({name for node_id in ids for name in _inputs(workflow[node_id])})
    raise _NotThere(f"node {node!r} has no input {name!r}{_instead(name, there)}")


def _nodes(workflow: Workflow, name: str) -> list[str]:
    """The ids of the nodes that `name` tells: by id, else all with this title, else all of this class."""
    if name in workflow:
        return [name]
    titled = [node_id for node_id, node in workflow.items() if _title(node) == name]
    return titled or [node_id for node_id, node in workflow.items() if node.get("class_type") == name]


def _names(workflow: Workflow) -> list[str]:
    """Every id, title and class once, ids first."""
    titles = (_title(node) for node in workflow.values())
    classes = (node.get("class_type") for node in workflow.values())
    return list(dict.fromkeys(name for name in (*workflow, *titles, *classes) if isinstance(name, str) and name))


def _title(node: dict[str, Any]) -> Any:
    meta = node.get("_meta")
    return meta.get("title") if isinstance(meta, dict) else None


def _inputs(node: dict[str, Any]) -> dict[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def _instead(name: str, there: Iterable[str]) -> str:
    there = list(there)
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.6)
    nearest = f"; did you mean {' or '.join(repr(match) for match in near)}?" if near else ""
    listed = ", ".join(there[:SHOWN]) or "nothing"
    more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    return f"{nearest or '.'} There is: {listed}{more}"


def _check_link(workflow: Workflow, value: Any) -> None:
    """A link to a node that is not there makes ComfyUI stumble rather than complain."""
    looks_like_one = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
    if looks_like_one and type(value[1]) is int and not is_link(value, workflow):
        raise _NotThere(f"there is no node {value[0]!r} to link to{_instead(value[0], workflow)}")
