"""A job as it arrives -> a Request, or an InvalidJob that says what is wrong.

The form and the messages are worker-comfyui's (its documented API, 5.8), so that its users can switch by changing the
endpoint: `{"input": {"workflow": {…}, "images": [{"name", "image"}], "comfy_org_api_key"}}`; `input` may be a JSON
string. `s3Config` beside `input` is RunPod's. The rest is ours.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from comfyport.comfyui.workflow import input_name
from comfyport.errors import InvalidJob
from comfyport.jobs import names

Delivery = Literal["auto", "base64", "s3", "volume"]


@dataclass(frozen=True)
class InputFile:
    """A file that the workflow reads as `name`: `content` is base64, a data URI, or an address (https://…).

    What stands under `images` `must_be_picture`; under `files` anything may.
    """

    name: str
    content: str = field(repr=False)
    must_be_picture: bool = False

    @property
    def is_address(self) -> bool:
        """Whether the content has to be fetched. Base64 has no colon, and of a scheme that is no good we tell."""
        return _is_address(self.content)


@dataclass(frozen=True)
class Bucket:
    """Where a job wants its files: its own S3 bucket with the credentials for it."""

    endpoint: str
    name: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class Wish:
    """How a job wants its files: delivered how, and whether ComfyUI's temporary ones (previews) belong to them.

    `delivery` is None for a job that leaves it to the worker.
    """

    delivery: Delivery | None = None
    include_temp: bool = False


@dataclass(frozen=True)
class Request:
    """One job: the workflow in API format, its input files, values to set in the workflow, how to deliver its outputs.

    `timeout` is seconds that it may take (None: the default); `previews` asks for pictures on the way.
    """

    id: str
    workflow: dict[str, Any]
    files: tuple[InputFile, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    wish: Wish = Wish()
    bucket: Bucket | None = None
    previews: bool = False
    comfy_org_api_key: str = field(default="", repr=False)
    timeout: float | None = None


def parse(job: Any) -> Request:
    """Reads a job. Raises InvalidJob."""
    given = given_input(job)
    return Request(
        id=str(job.get("id") or ""),
        workflow=_workflow(given.get("workflow")),
        files=_files(given),
        values=_values(given.get("set")),
        wish=_wish(given.get("output")),
        bucket=_bucket(given.get("s3Config") or job.get("s3Config")),
        previews=_flag(given.get("previews"), "previews"),
        comfy_org_api_key=_text(given.get("comfy_org_api_key")),
        timeout=_timeout(given.get("timeout")),
    )


def given_input(job: Any) -> Mapping[str, Any]:
    """What stands under `input`. Raises InvalidJob."""
    if not isinstance(job, Mapping):
        raise InvalidJob('A job must be an object such as {"input": {"workflow": {…}}}')
    given = job.get("input")
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
    return {node_id: _with_inputs(node) for node_id, node in workflow.items()}


def _with_inputs(node: Any) -> Any:
    """A node that takes nothing may leave its inputs out; what else is wrong with one is told with all of its kind."""
    return {"inputs": {}, **node} if isinstance(node, dict) else node


def _files(given: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """The job's `images` and `files`, which differ in what they may be and in the names of their fields."""
    images = _listed(given.get("images"), "'images' must be a list of objects with 'name' and 'image' keys", "image")
    files = _listed(
        given.get("files"), "'files' must be a list of objects with 'name' and one of 'data' and 'url'", "data", "url"
    )
    together = (*images, *files)
    counted = Counter(input_name(file.name) for file in together)
    if twice := [name for name, count in counted.items() if count > 1]:
        raise InvalidJob(
            f"Two of the job's 'images' and 'files' have the same name: {', '.join(twice)[:200]}", names=twice
        )
    return together


def _listed(items: Any, message: str, *keys: str) -> tuple[InputFile, ...]:
    if items is None:
        return ()
    if not isinstance(items, list):
        raise InvalidJob(message)
    found: list[InputFile] = []
    for item in items:
        given = [key for key in keys if item.get(key) is not None] if isinstance(item, dict) else []
        if len(given) != 1 or not isinstance(item[given[0]], str) or not isinstance(item.get("name"), str):
            raise InvalidJob(message)
        name, content = item["name"], item[given[0]]
        if problem := names.problem(name):
            raise InvalidJob(f"The file name {name[:100]!r} {problem}")
        if _is_address(content):
            content = content.strip()
        elif given[0] == "url":
            raise InvalidJob(f"The 'url' of {name[:100]!r} is not an address such as https://example.com/clip.mp4")
        found.append(InputFile(name, content, must_be_picture=given[0] == "image"))
    return tuple(found)


def _is_address(content: str) -> bool:
    scheme = re.match(r"\s{0,20}([a-z][a-z0-9+.-]{0,30}):", content, re.IGNORECASE)
    return scheme is not None and scheme[1].lower() != "data"


def _values(values: Any) -> Mapping[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(target, str) for target in values):
        raise InvalidJob("""'set' must be an object such as {"6.text": "a cat", "KSampler.seed": 7}""")
    return values


def _wish(output: Any) -> Wish:
    if output is None:
        return Wish()
    if not isinstance(output, dict):
        raise InvalidJob("""'output' must be an object such as {"delivery": "s3"}""")
    delivery = output.get("delivery")
    if delivery is not None and delivery not in get_args(Delivery):
        raise InvalidJob(f"'output.delivery' must be one of {', '.join(get_args(Delivery))}")
    return Wish(cast("Delivery | None", delivery), _flag(output.get("include_temp"), "output.include_temp"))


def _bucket(config: Any) -> Bucket | None:
    """RunPod's `s3Config`."""
    if config is None:
        return None
    keys = ("endpointUrl", "bucketName", "accessId", "accessSecret")
    if not isinstance(config, dict) or not all(isinstance(config.get(key), str) and config[key] for key in keys):
        raise InvalidJob(f"'s3Config' must be an object with {', '.join(keys)}")
    return Bucket(*(config[key] for key in keys))


def _flag(value: Any, name: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidJob(f"'{name}' must be true or false")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidJob("'timeout' must be a number of seconds above 0")
    return float(value)
