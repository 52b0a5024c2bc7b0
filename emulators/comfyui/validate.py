"""Judges a prompt before it is queued, with ComfyUI's own words for what is wrong."""

import traceback
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Node
from emulators.comfyui.nodes import NODES

Prompt = dict[str, Any]
"""A workflow in API format: node id -> class_type, inputs."""

Problem = dict[str, Any]
"""type, message, details, extra_info."""

CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
LONG_LIST = 20
"""Longer lists of choices are not repeated in the answer."""


@dataclass
class Verdict:
    """`error` is None if at least one output can run; `outputs` are those that can."""

    error: Problem | None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


def problem(kind: str, message: str, details: str, **extra_info: Any) -> Problem:
    """One entry of the answer's `errors`."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def is_link(value: object) -> bool:
    """Whether an input's value is [node id, output number]."""
    match value:
        case [str(), int() | float()]:
            return True
    return False


def validate(prompt: Prompt, folders: Folders, targets: Container[str] | None = None) -> Verdict:
    """Checks every output of `prompt` (those in `targets` if given) and all that it depends on.

    Values are converted in place ("7" becomes 7), as the history then shows them.
    """
    outputs = []
    for node_id, node in prompt.items():
        where = f"Node ID '#{node_id}'"
        if "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
            return Verdict(problem("invalid_prompt", message, where))
        kind = NODES.get(node["class_type"])
        if kind is None:
            message = f"Cannot execute because node {node['class_type']} does not exist."
            return Verdict(problem("invalid_prompt", message, where))
        if kind.output_node and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict(problem("prompt_no_outputs", "Prompt has no outputs", ""))
    return _Validation(prompt, folders).judge(outputs)


class _Validation:
    """One pass over a prompt; remembers which nodes were judged."""

    def __init__(self, prompt: Prompt, folders: Folders) -> None:
        self.prompt = prompt
        self.folders = folders
        self.judged: dict[str, tuple[bool, list[Problem]]] = {}
        self.being_judged: set[str] = set()

    def judge(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        reasons: list[str] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            try:
                valid = self.node(output)
            except Exception as error:  # noqa: BLE001 - whatever a malformed prompt causes is the answer
                valid = False
                self.judged[output] = False, [_raised("exception_during_validation", "node", error)]
            if valid:
                good.append(output)
                continue
            reasons += [f"{p['message']}: {p['details']}" for p in self.judged[output][1]]
            self._blame(output, node_errors)
        if good:
            return Verdict(None, good, node_errors)
        message = "Prompt outputs failed validation"
        failed = problem("prompt_outputs_failed_validation", message, "\n".join(reasons))
        return Verdict(failed, [], node_errors)

    def _blame(self, output: str, node_errors: dict[str, Any]) -> None:
        """Enters what is wrong so far; every node judged up to now counts as a cause, as in ComfyUI."""
        for node_id, (_, problems) in self.judged.items():
            if problems:
                entry = node_errors.setdefault(
                    node_id,
                    {
                        "errors": problems,
                        "dependent_outputs": [],
                        "class_type": self.prompt[node_id]["class_type"],
                    },
                )
                entry["dependent_outputs"].append(output)

    def node(self, node_id: str) -> bool:
        """Whether a node and all that it is linked to can run."""
        if node_id in self.judged:
            return self.judged[node_id][0]
        if node_id in self.being_judged:
            return False
        self.being_judged.add(node_id)
        given = self.prompt[node_id]["inputs"]
        node = NODES[self.prompt[node_id]["class_type"]]()
        declared = node.inputs(self.folders)
        problems: list[Problem] = []
        linked_well = True
        for category in ("required", "optional"):
            for name, declaration in declared.get(category, {}).items():
                kind, options = declaration[0], declaration[1] if len(declaration) > 1 else {}
                if name not in given:
                    if category == "required":
                        message = "Required input is missing"
                        problems.append(problem("required_input_missing", message, name, input_name=name))
                elif isinstance(given[name], list):
                    found = self._link(name, given[name], kind, options)
                    linked_well = linked_well and found is not False
                    problems += [found] if isinstance(found, dict) else []
                else:
                    problems += _constant(node, given, name, kind, options)
        problems += self._own_check(node, given)
        self.judged[node_id] = not problems and linked_well, problems
        return self.judged[node_id][0]

    def _link(self, name: str, link: list[Any], kind: Any, options: dict[str, Any]) -> Problem | bool:
        """A problem with the link itself, or whether the node that it leads to can run."""
        config = (kind, options)
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return problem("bad_linked_input", message, name, input_name=name, input_config=config, received_value=link)
        source, slot = link
        received = NODES[self.prompt[source]["class_type"]].output[slot]
        if kind not in ("*", received):
            return problem(
                "return_type_mismatch", "Return type mismatch between linked nodes",
                f"{name}, received_type({received}) mismatch input_type({kind})",
                input_name=name, input_config=config, received_type=received, linked_node=link,
            )  # fmt: skip
        try:
            return self.node(source)
        except Exception as error:  # noqa: BLE001 - whatever a malformed prompt causes is the answer
            told = _raised("exception_during_inner_validation", "inner node", error)
            told["extra_info"] |= {
                "input_name": name, "input_config": config, "exception_message": str(error), "linked_node": link,
            }  # fmt: skip
            self.judged[source] = False, [told]
            return False

    def _own_check(self, node: Node, given: dict[str, Any]) -> list[Problem]:
        values = {name: given[name] for name in node.self_checked if name in given}
        wrong = node.check(values, self.folders) if values else None
        if wrong is None:
            return []
        message = "Custom validation failed for node"
        return [problem("custom_validation_failed", message, f"{name} - {wrong}", input_name=name) for name in values]


def _constant(node: Node, given: dict[str, Any], name: str, kind: Any, options: dict[str, Any]) -> list[Problem]:
    """Converts a plain value to its declared type and compares it with limits and choices."""
    config = (kind, options)
    if isinstance(given[name], dict) and "__value__" in given[name]:
        given[name] = given[name]["__value__"]
    value = given[name]
    if isinstance(kind, str) and kind in CONVERSIONS:
        try:
            value = given[name] = CONVERSIONS[kind](value)
        except (TypeError, ValueError, OverflowError) as error:
            return [problem(
                "invalid_input_type", f"Failed to convert an input value to a {kind} value",
                f"{name}, {value}, {error}",
                input_name=name, input_config=config, received_value=value, exception_message=str(error),
            )]  # fmt: skip
    if name in node.self_checked:
        return []
    told = {"input_name": name, "input_config": config, "received_value": value}
    if "min" in options and value < options["min"]:
        message = f"Value {value} smaller than min of {options['min']}"
        return [problem("value_smaller_than_min", message, name, **told)]
    if "max" in options and value > options["max"]:
        message = f"Value {value} bigger than max of {options['max']}"
        return [problem("value_bigger_than_max", message, name, **told)]
    if isinstance(kind, list) and not node.modern and value not in kind:
        listed = str(kind)
        if len(kind) > LONG_LIST:
            listed, told["input_config"] = f"(list of length {len(kind)})", None
        return [problem("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {listed}", **told)]
    return []


def _raised(kind: str, what: str, error: Exception) -> Problem:
    return problem(
        kind, f"Exception when validating {what}", str(error),
        exception_type=type(error).__name__, traceback=traceback.format_tb(error.__traceback__),
    )  # fmt: skip
