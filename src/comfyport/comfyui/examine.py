"""Looks a whole workflow through: workflow and catalogue in, everything that is wrong with it out. Pure.

ComfyUI's own validation (execution.py, validate_prompt, v0.3.64) stops at the first unknown node, looks only at nodes
that an output needs, calls a circle a failure without a reason, and does not look at the files that nodes of the new
interface name. It is the judge where a node may judge itself (`VALIDATE_INPUTS`), which its declaration does not tell.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyport.comfyui import graph
from comfyport.comfyui.catalogue import Catalogue
from comfyport.comfyui.form import malformed
from comfyport.comfyui.misfits import misfits
from comfyport.comfyui.needs import is_model_file
from comfyport.comfyui.problems import Problem, Weight, node_errors
from comfyport.comfyui.rejection import FAILED_OUTPUTS
from comfyport.comfyui.workflow import Workflow

# ComfyUI follows links with functions that call themselves, and Python ends such a chain below 1000.
LONGEST_CHAIN = 900
# Names are compared slowly.
MOST_COMPARED = 20
UNKNOWN_NODE = "missing_node_type"
RIDDLE: dict[str, Any] = {"class_type": "", "inputs": {}}


@dataclass(frozen=True)
class Findings:
    """All problems of a workflow, and for each node that has one the outputs that need it."""

    problems: tuple[Problem, ...] = ()
    outputs_of: Mapping[str, list[str]] = field(default_factory=dict)
    refused: bool = False

    @property
    def missing(self) -> set[tuple[str, str, str]]:
        """The model files that are not there, each with the class and the input that name it."""
        return {
            (problem.class_type, problem.extra_info["input_name"], value)
            for problem in self.problems
            if problem.type == "value_not_in_list" and is_model_file(value := problem.extra_info["received_value"])
        }

    @property
    def unknown(self) -> set[str]:
        """The classes that ComfyUI does not have."""
        return {problem.class_type for problem in self.problems if problem.type == UNKNOWN_NODE}

    def as_refusal(self) -> dict[str, Any]:
        """The problems in the form of ComfyUI's answer to a prompt that it refuses."""
        of_all = [problem for problem in self.problems if not problem.node_id]
        failed = Problem("", "", "whole", FAILED_OUTPUTS, "Prompt outputs failed validation")
        error = (of_all or [failed])[0].as_error()
        return {"error": error, "node_errors": node_errors(self.problems, self.outputs_of)}


def check(workflow: Any, catalogue: Catalogue, opaque: frozenset[str] = frozenset()) -> Findings:
    """Everything that is wrong with a workflow, and whether it is certain that it cannot run.

    Nodes of the classes `opaque` are there although the catalogue does not say what they are.
    """
    problems = list(malformed(workflow))
    if not isinstance(workflow, dict):
        return Findings(tuple(problems), refused=True)
    # The others are looked at too, with something in the place of a node that cannot be.
    wrong = {problem.node_id for problem in problems}
    sound = {str(node_id): RIDDLE if str(node_id) in wrong else node for node_id, node in workflow.items()}
    problems += _unknown_nodes(sound, catalogue, opaque | {RIDDLE["class_type"]})
    return _Examination(sound, catalogue).findings(problems)


def _unknown_nodes(workflow: Workflow, catalogue: Catalogue, opaque: frozenset[str]) -> Iterator[Problem]:
    nearest: dict[str, list[str]] = {}
    for node_id, node in workflow.items():
        name = node["class_type"]
        if name not in catalogue and name not in opaque:
            if name not in nearest and len(nearest) < MOST_COMPARED:
                nearest[name] = difflib.get_close_matches(name[:200], list(catalogue), n=3, cutoff=0.75)
            near = nearest.get(name, [])
            like = f" Nearest that there are: {', '.join(near)}." if near else ""
            message = f"Node '{name[:200]}' not found. The custom node may not be installed.{like}"
            yield Problem(node_id, name[:200], "whole", UNKNOWN_NODE, message, "", {"nearest": near})


class _Examination:
    """The links of one workflow, by what ComfyUI does with them."""

    def __init__(self, workflow: Workflow, catalogue: Catalogue) -> None:
        self._workflow = workflow
        self._catalogue = catalogue
        types = {node_id: catalogue.get(node["class_type"]) for node_id, node in workflow.items()}
        self._outputs = [node_id for node_id, known in types.items() if known and known.is_output]
        # A node that nobody can describe may be an output.
        self._knows_outputs = all(types.values())
        self._all = graph.links(workflow, lambda node_id, name: True)
        self._declared = graph.links(workflow, lambda node_id, name: self._input(node_id, name) is not None)
        self._sure_to_run = graph.links(workflow, self._is_sure_to_run)

    def findings(self, found: list[Problem]) -> Findings:
        """`found` and all other problems, with the verdict."""
        validated = {output: graph.reached([output], self._declared) for output in self._outputs}
        needed = set().union(*validated.values())
        problems = [*found, *self._of_all()]
        for node_id in self._in_order(needed):
            problems += misfits(node_id, self._workflow, self._catalogue)
        problems += self._circles(needed, self._declared, "output")
        good = self._without(problems, {"output"}, validated)
        stumbles = list(self._stumbles(good))
        problems += stumbles
        # An output that its node's own validation may leave out is not sure to come to a file that is missing.
        sure = self._without(problems, {"output", "unsure"}, validated)
        running = graph.reached(sure, self._sure_to_run) | {problem.node_id for problem in stumbles}
        stops = (one.weight == "whole" or (one.weight == "run" and one.node_id in running) for one in problems)
        refused = any(stops) or (self._knows_outputs and not good)
        outputs_of = {
            problem.node_id: [output for output in self._outputs if problem.node_id in validated[output]]
            for problem in problems
        }
        return Findings(tuple(problems), outputs_of, refused)

    def _without(self, problems: list[Problem], weights: set[Weight], needed: Mapping[str, set[str]]) -> list[str]:
        """The outputs that need no node with a problem of these weights."""
        wrong = {problem.node_id for problem in problems if problem.weight in weights}
        return [output for output in self._outputs if not wrong & needed[output]]

    def _stumbles(self, good: list[str]) -> Iterator[Problem]:
        """What ComfyUI does not validate: links of inputs that are not declared, which it follows all the same."""
        running = graph.reached(good, self._all)
        for node_id in self._in_order(running):
            node = self._workflow[node_id]
            for name, value in node["inputs"].items():
                if graph.is_link(value) and value[0] not in self._workflow and self._input(node_id, name) is None:
                    message = f"It is linked to node {value[0][:100]}, which is not there"
                    yield Problem(node_id, node["class_type"], "run", "bad_linked_input", message, name)
        if not graph.circle(running, self._declared):
            yield from self._circles(running, self._all, "run")

    def _circles(self, among: set[str], along: graph.Links, weight: Weight) -> Iterator[Problem]:
        circle = graph.circle(among, along)
        if circle:
            way = " -> ".join([*circle[:10], *(["…"] if len(circle) > 10 else []), circle[0]])
            class_type = self._workflow[circle[0]]["class_type"]
            yield Problem(circle[0], class_type, weight, "dependency_cycle", "Dependency cycle detected", way)

    def _of_all(self) -> Iterator[Problem]:
        if self._knows_outputs and not self._outputs:
            yield Problem("", "", "whole", "prompt_no_outputs", "Prompt has no outputs")
        length = graph.longest_chain(self._all)
        if length > LONGEST_CHAIN:
            message = f"{length} nodes are linked in a row, of which ComfyUI manages {LONGEST_CHAIN}"
            yield Problem("", "", "whole", "invalid_prompt", message)

    def _input(self, node_id: str, name: str) -> Any:
        class_type = self._workflow[node_id]["class_type"]
        return self._catalogue[class_type].inputs.get(name) if class_type in self._catalogue else None

    def _is_sure_to_run(self, node_id: str, name: str) -> bool:
        declared = self._input(node_id, name)
        return declared is None or not declared.is_lazy

    def _in_order(self, nodes: set[str]) -> list[str]:
        return [node_id for node_id in self._workflow if node_id in nodes]
