"""Reads the 400 with which ComfyUI refuses a workflow, and says it in one message.

ComfyUI answers {"error": {"type", "message", "details", "extra_info"}, "node_errors": {id: {"errors": [...],
"class_type", "dependent_outputs"}}} (execution.py, validate_prompt, v0.3.64); `node_errors` is [] when it has none.
"""

import json
from typing import Any

from comfyport.errors import WorkflowRejected

# A list of all samplers or of a thousand checkpoints helps nobody.
SHOWN_CHOICES = 20


def rejection(body: str, workflow: dict[str, Any]) -> WorkflowRejected:
    """The error for a body of POST /prompt with status 400, whatever its form."""
    try:
        raw = json.loads(body)
    except ValueError:
        return WorkflowRejected(f"Workflow validation failed: {body[:500]}", node_errors={}, raw=body[:4000])
    error = raw.get("error") if isinstance(raw, dict) else None
    if not isinstance(error, dict):
        return WorkflowRejected(f"Workflow validation failed: {error or body[:500]}", node_errors={}, raw=raw)
    node_errors = raw.get("node_errors") or {}
    lines = [
        f"• Node {node_id} ({_class_of(problems, node_id, workflow)}): {_sentence(problem)}"
        for node_id, problems in (node_errors.items() if isinstance(node_errors, dict) else ())
        for problem in problems.get("errors", ())
    ]
    if not lines:
        lines = [f"• {_sentence(error)}"]
    return WorkflowRejected("\n".join(["Workflow validation failed:", *lines]), node_errors=node_errors, raw=raw)


def _class_of(problems: dict[str, Any], node_id: str, workflow: dict[str, Any]) -> str:
    return str(problems.get("class_type") or workflow.get(node_id, {}).get("class_type", "?"))


def _sentence(problem: dict[str, Any]) -> str:
    extra = problem.get("extra_info")
    if problem.get("type") == "value_not_in_list" and isinstance(extra, dict):
        return _not_in_list(extra)
    parts = (str(problem.get("message", "")), str(problem.get("details", "")))
    return ": ".join(part for part in parts if part)


def _not_in_list(extra: dict[str, Any]) -> str:
    name, value = extra.get("input_name"), extra.get("received_value")
    config = extra.get("input_config")
    choices = config[0] if isinstance(config, list) and config and isinstance(config[0], list) else []
    if not choices and isinstance(config, list) and len(config) > 1 and isinstance(config[1], dict):
        choices = config[1].get("options", [])
    listed = ", ".join(str(choice) for choice in choices[:SHOWN_CHOICES]) or "none"
    more = f" and {len(choices) - SHOWN_CHOICES} more" if len(choices) > SHOWN_CHOICES else ""
    return f"{name}: {value!r} is not there. There is: {listed}{more}"
