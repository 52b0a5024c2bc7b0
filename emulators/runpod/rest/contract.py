"""RunPod's OpenAPI document as a judge of requests and answers."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

DOCUMENT = json.loads((Path(__file__).parent / "openapi.json").read_text(encoding="utf-8"))


def problems_of_request(method: str, template: str, body: Any) -> list[str]:
    """What the document says against a request's JSON; `template` is the path with `{id}` in it."""
    content = DOCUMENT["paths"][template][method.lower()]["requestBody"]["content"]
    return _problems(json.dumps(content["application/json"]["schema"]), body)


def problems_of_answer(method: str, template: str, status: int, body: Any) -> list[str]:
    """What the document says against an answer's JSON."""
    content = DOCUMENT["paths"][template][method.lower()]["responses"][str(status)]["content"]
    return _problems(json.dumps(content["application/json"]["schema"]), body)


def _problems(schema: str, body: Any) -> list[str]:
    return sorted(f"{error.json_path}: {error.message}" for error in _validator(schema).iter_errors(body))


@cache
def _validator(schema: str) -> Draft202012Validator:
    # The components come along, so that `#/components/schemas/…` leads somewhere.
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})
