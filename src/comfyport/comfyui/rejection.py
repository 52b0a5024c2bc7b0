"""Reads the 400 with which ComfyUI refuses a workflow, and says it in one message.

ComfyUI answers {"error": {"type", "message", "details", "extra_info"}, "node_errors": {id: {"errors": [...],
"class_type", "dependent_outputs"}}} (execution.py, validate_prompt, v0.3.64); `node_errors` is [] when it has none.
"""

import json
from collections.abc import Callable
from typing import Any

from comfyport.errors import WorkflowRejected

# A list of all samplers or of a thousand checkpoints helps nobody.
SHOWN_CHOICES = 20
SHOWN_VALUE = 250
SHOWN_PROBLEMS = 50
# What ComfyUI says of the whole when the nodes say the rest.
FAILED_OUTPUTS = "prompt_outputs_failed_validation"


# What is to be done about a problem: by the node's class and the problem as ComfyUI has it; empty if nobody knows.
Advice = Callable[[str, dict[str, Any]], str]


def no_advice(class_type: str, problem: dict[str, Any]) -> str:
    """Knows nothing."""
    return ""


def rejection(body: str, workflow: dict[str, Any]) -> WorkflowRejected:
    """The error for a body of POST /prompt with status 400, whatever its form."""
    try:
        # An answer of ours must be JSON for everybody, which NaN is not.
        raw = json.loads(body, parse_constant=str)
    except (ValueError, RecursionError):
        return WorkflowRejected(f"Workflow validation failed: {body[:500]}", node_errors={}, raw=body[:4000])
    if not isinstance(raw, dict) or not isinstance(raw.get("error"), dict):
        error = raw.get("error") if isinstance(raw, dict) else None
        return WorkflowRejected(f"Workflow validation failed: {error or body[:500]}", node_errors={}, raw=raw)
    return told(raw, workflow)


def told(raw: dict[str, Any], workflow: dict[str, Any], advise: Advice = no_advice) -> WorkflowRejected:
    """The error for an answer of the form above, with what `advise` says of each of its problems."""
    error = raw["error"] if isinstance(raw.get("error"), dict) else {}
    given = raw.get("node_errors")
    node_errors: dict[str, Any] = given if isinstance(given, dict) else {}
    lines = [] if node_errors and error.get("type") == FAILED_OUTPUTS else [_sentence(error)]
    lines += sentences(node_errors, workflow, advise)
    more = [f"and {len(lines) - SHOWN_PROBLEMS} more"] if len(lines) > SHOWN_PROBLEMS else []
    listed = (f"• {line}" for line in (*lines[:SHOWN_PROBLEMS], *more))
    message = "\n".join(["Workflow validation failed:", *listed])
    return WorkflowRejected(message, node_errors=node_errors, raw=raw)


def sentences(node_errors: dict[str, Any], workflow: dict[str, Any], advise: Advice = no_advice) -> list[str]:
    """ComfyUI's `node_errors`, one sentence for each problem."""
    lines: list[str] = []
    for node_id, problems in node_errors.items():
        class_type = _class_of(problems, node_id, workflow)
        for problem in _errors(problems):
            # Advice takes time to find, and nobody reads the fiftieth.
            advice = advise(class_type, problem) if len(lines) < SHOWN_PROBLEMS else ""
            lines.append(f"Node {node_id} ({class_type}): {_sentence(problem)} {advice}".rstrip())
    return lines


def _errors(problems: Any) -> list[dict[str, Any]]:
    listed = problems.get("errors") if isinstance(problems, dict) else None
    return [problem for problem in listed if isinstance(problem, dict)] if isinstance(listed, list) else []


def _class_of(problems: Any, node_id: str, workflow: dict[str, Any]) -> str:
    named = problems.get("class_type") if isinstance(problems, dict) else None
    node = workflow.get(node_id)
    return str(named or (node.get("class_type") if isinstance(node, dict) else None) or "?")


def _sentence(problem: dict[str, Any]) -> str:
    extra = problem.get("extra_info")
    if problem.get("type") == "value_not_in_list" and isinstance(extra, dict):
        return _not_in_list(extra)
    parts = (str(problem.get("message", "")), str(problem.get("details", "")))
    return ": ".join(part for part in parts if part)


def _not_in_list(extra: dict[str, Any]) -> str:
    name, value = extra.get("input_name"), repr(extra.get("received_value"))[:SHOWN_VALUE]
    config = extra.get("input_config")
    choices = config[0] if isinstance(config, list) and config and isinstance(config[0], list) else []
    if not choices and isinstance(config, list) and len(config) > 1 and isinstance(config[1], dict):
        choices = config[1].get("options", [])
    if config is None:
        # ComfyUI keeps a long list to itself.
        return f"{name}: {value} is not there."
    listed = ", ".join(str(choice) for choice in choices[:SHOWN_CHOICES]) or "none"
    more = f" and {len(choices) - SHOWN_CHOICES} more" if len(choices) > SHOWN_CHOICES else ""
    return f"{name}: {value} is not there. There is: {listed}{more}."
