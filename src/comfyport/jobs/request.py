"""A job as it arrives -> a Request, or an InvalidJob that says what is wrong.

The form and the messages are worker-comfyui's (its documented API, 5.8), so that its users can switch by changing the
endpoint: `{"input": {"workflow": {…}, "images": [{"name", "image"}], "comfy_org_api_key"}}`; `input` may be a JSON
string. `timeout`, in seconds, is ours.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyport.errors import InvalidJob


@dataclass(frozen=True)
class ImageInput:
    """A picture that goes to ComfyUI's input folder under `name`; `data` is base64 or a data URI."""

    name: str
    data: str = field(repr=False)


@dataclass(frozen=True)
class Request:
    """One job: the workflow in API format, its input pictures, seconds that it may take (None: the default)."""

    id: str
    workflow: dict[str, Any]
    images: tuple[ImageInput, ...] = ()
    comfy_org_api_key: str = field(default="", repr=False)
    timeout: float | None = None


def parse(job: Any) -> Request:
    """Reads a job. Raises InvalidJob."""
    if not isinstance(job, Mapping):
        raise InvalidJob('A job must be an object such as {"input": {"workflow": {…}}}')
    given = _input(job.get("input"))
    return Request(
        id=str(job.get("id") or ""),
        workflow=_workflow(given.get("workflow")),
        images=_images(given.get("images")),
        comfy_org_api_key=_text(given.get("comfy_org_api_key")),
        timeout=_timeout(given.get("timeout")),
    )


def _input(given: Any) -> Mapping[str, Any]:
    if given is None:
        raise InvalidJob("Please provide input")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise InvalidJob("Invalid JSON format in input") from None
    if not isinstance(given, Mapping):
        raise InvalidJob("'input' must be an object")
    return given


def _workflow(workflow: Any) -> dict[str, Any]:
    if workflow is None:
        raise InvalidJob("Missing 'workflow' parameter")
    if not isinstance(workflow, dict) or not workflow:
        raise InvalidJob("'workflow' must be an object that maps node ids to nodes")
    if isinstance(workflow.get("nodes"), list):
        raise InvalidJob(
            "'workflow' is in ComfyUI's editor format. Export it with 'Export (API)' in ComfyUI's menu and send that"
        )
    for node_id, node in workflow.items():
        if not isinstance(node, dict) or not isinstance(node.get("inputs", {}), dict):
            raise InvalidJob(f"'workflow' has something at {node_id!r} that is not a node", node_id=node_id)
    return workflow


def _images(images: Any) -> tuple[ImageInput, ...]:
    if images is None:
        return ()
    message = "'images' must be a list of objects with 'name' and 'image' keys"
    if not isinstance(images, list):
        raise InvalidJob(message)
    for image in images:
        if not isinstance(image, dict) or not all(isinstance(image.get(key), str) for key in ("name", "image")):
            raise InvalidJob(message)
        _check_name(image["name"])
    return tuple(ImageInput(image["name"], image["image"]) for image in images)


def _check_name(name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if not name or name.startswith("/") or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise InvalidJob(f"The image name {name[:100]!r} must be a plain file name such as in.png")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidJob("'timeout' must be a number of seconds above 0")
    return float(value)
