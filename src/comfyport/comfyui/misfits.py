"""Compares one node's inputs with what its type declares."""

from collections.abc import Iterator
from typing import Any

from comfyport.comfyui.catalogue import Catalogue, Input
from comfyport.comfyui.needs import is_model_file
from comfyport.comfyui.problems import Problem, Weight, shown
from comfyport.comfyui.workflow import Workflow

_CONVERSIONS = {"INT": int, "FLOAT": float}
# ComfyUI does not send longer lists of choices back.
LONGEST_LIST = 20


def misfits(node_id: str, workflow: Workflow, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with the declared inputs of a node; nothing where its type is not known."""
    class_type = workflow[node_id]["class_type"]
    if class_type not in catalogue:
        return []
    node = _Node(node_id, workflow, catalogue)
    return [problem for declared in catalogue[class_type].inputs.values() for problem in node.misfit(declared)]


class _Node:
    """One node beside the workflow that it is part of."""

    def __init__(self, node_id: str, workflow: Workflow, catalogue: Catalogue) -> None:
        self._id = node_id
        self._workflow = workflow
        self._catalogue = catalogue
        self._inputs: dict[str, Any] = workflow[node_id]["inputs"]

    def misfit(self, declared: Input) -> Iterator[Problem]:
        if declared.is_dynamic:
            return
        if declared.name not in self._inputs:
            if declared.required:
                yield self._problem(declared, "output", "required_input_missing", "Required input is missing")
            return
        value = self._inputs[declared.name]
        if isinstance(value, list):
            yield from self._link(declared, value)
            return
        # A list that is a value comes wrapped, since a bare one is a link.
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        yield from self._constant(declared, value)

    def _link(self, declared: Input, value: list[Any]) -> Iterator[Problem]:
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            yield self._problem(declared, "output", "bad_linked_input", message, value)
            return
        source, slot = value
        if not isinstance(source, str) or source not in self._workflow:
            message = f"It is linked to node {shown(source)}, which is not there"
            yield self._problem(declared, "output", "bad_linked_input", message, value)
            return
        source_type = self._workflow[source]["class_type"]
        outputs = self._catalogue[source_type].outputs if source_type in self._catalogue else None
        if outputs is None:
            return
        if not isinstance(slot, int) or not -len(outputs) <= slot < len(outputs):
            message = f"It is linked to output {shown(slot)} of node {source} ({source_type}), which has {len(outputs)}"
            yield self._problem(declared, "output", "bad_linked_input", message, value)
        elif _differ(outputs[slot], declared.kind):
            message = "Return type mismatch between linked nodes"
            details = f"{declared.name}, received_type({outputs[slot]}) mismatch input_type({declared.kind})"
            yield self._problem(declared, "unsure", "return_type_mismatch", message, value, details)

    def _constant(self, declared: Input, value: Any) -> Iterator[Problem]:
        convert = _CONVERSIONS.get(declared.kind) if isinstance(declared.kind, str) else None
        if convert:
            try:
                value = convert(value)
            except (TypeError, ValueError, OverflowError):
                message = f"Failed to convert an input value to a {declared.kind} value"
                details = f"{declared.name}, {shown(value)}"
                yield self._problem(declared, "output", "invalid_input_type", message, value, details)
                return
            yield from self._limits(declared, value)
        choices = declared.choices
        if choices is None or value in choices:
            return
        if not declared.is_modern:
            yield self._not_in_list(declared, value, choices, "unsure")
        elif is_model_file(value):
            yield self._not_in_list(declared, value, choices, "run")

    def _limits(self, declared: Input, value: float) -> Iterator[Problem]:
        least, most = declared.options.get("min"), declared.options.get("max")
        if isinstance(least, int | float) and value < least:
            message = f"Value {shown(value)} smaller than min of {least}"
            yield self._problem(declared, "unsure", "value_smaller_than_min", message, value)
        if isinstance(most, int | float) and value > most:
            message = f"Value {shown(value)} bigger than max of {most}"
            yield self._problem(declared, "unsure", "value_bigger_than_max", message, value)

    def _not_in_list(self, declared: Input, value: Any, choices: list[Any], weight: Weight) -> Problem:
        long = len(choices) > LONGEST_LIST
        listed = f"(list of length {len(choices)})" if long else str(choices)
        details = f"{declared.name}: '{shown(value)}' not in {listed}"
        problem = self._problem(declared, weight, "value_not_in_list", "Value not in list", value, details)
        problem.extra_info["input_config"] = None if long else [declared.kind, dict(declared.options)]
        return problem

    def _problem(
        self, declared: Input, weight: Weight, kind: str, message: str, value: Any = None, details: str = ""
    ) -> Problem:
        extra_info: dict[str, Any] = {"input_name": declared.name}
        if kind != "required_input_missing":
            extra_info["received_value"] = shown(value)
        class_type = self._workflow[self._id]["class_type"]
        return Problem(self._id, class_type, weight, kind, message, details or declared.name, extra_info)


def _differ(given: Any, wanted: Any) -> bool:
    """Whether two types have nothing in common; a node may take more than it declares (`*`)."""
    if not isinstance(given, str) or not isinstance(wanted, str) or "*" in given + wanted:
        return False
    return not {part.strip() for part in given.split(",")} & {part.strip() for part in wanted.split(",")}
