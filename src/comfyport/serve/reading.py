"""Reads what a client sends: to `/run` and `/runsync` everything beside the job itself, which `jobs/` reads."""

import hashlib
import json
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from comfyport.errors import BodyTooLarge, InvalidJob
from comfyport.jobs import addresses
from comfyport.recipes.recipe import Recipe
from comfyport.serve.job import Submission

EXPECTED = 'The request must be JSON (Content-Type: application/json) such as {"input": {"workflow": {…}}}'
PARAMETERS_EXPECTED = "The request must be JSON (Content-Type: application/json), an object with the parameters of"
# RunPod's longest, for both of its times.
WEEK_MILLISECONDS = 7 * 24 * 3_600_000
LONGEST_KEY = 255


async def submission(request: Request, *, key: str, limit: int, private: bool) -> Submission:
    """The job in a request whose body has at most `limit` bytes; `private` lets its webhook be a private address.

    Raises BodyTooLarge, InvalidJob.
    """
    raw = await _body(request, limit)
    body = _parsed(request, raw)
    execution_timeout, ttl = _policy(body.get("policy"))
    return Submission(
        input=body["input"],
        bucket=body.get("s3Config"),
        webhook=_webhook(body.get("webhook"), private=private),
        execution_timeout=execution_timeout,
        ttl=ttl,
        key=_key(key),
        digest=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
    )


async def parameters(request: Request, recipe: Recipe, *, key: str, limit: int) -> Submission:
    """The job that a request to a recipe's own route makes; its body is the parameters, of at most `limit` bytes.

    Raises BodyTooLarge, InvalidJob, InvalidParameters.
    """
    raw = await _body(request, limit)
    given = _object(request, raw, f"{PARAMETERS_EXPECTED} {recipe.name}")
    recipe.read(given)
    return Submission(
        input={"recipe": recipe.name, "parameters": given},
        key=_key(key),
        digest=hashlib.sha256(recipe.name.encode() + b" " + raw).hexdigest(),
        size=len(raw),
    )


async def _body(request: Request, limit: int) -> bytes:
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge(limit)
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > limit:
                raise BodyTooLarge(limit)
    except ClientDisconnect:
        raise InvalidJob("The connection ended before the body did") from None
    return bytes(body)


def _parsed(request: Request, raw: bytes) -> dict[str, Any]:
    body = _object(request, raw, EXPECTED)
    if body.get("input") is None:
        raise InvalidJob(f"{EXPECTED}: it has no 'input'")
    return body


def _object(request: Request, raw: bytes, expected: str) -> dict[str, Any]:
    # Any other type could be sent by a page of another origin without asking first.
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidJob(expected)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidJob(f"{expected}: {reason[:200]}") from None
    if not isinstance(body, dict):
        raise InvalidJob(f"{expected}: it is no object")
    return body


def _policy(policy: Any) -> tuple[float | None, float | None]:
    """RunPod's `executionTimeout` and `ttl`, in seconds; `lowPriority` means nothing where no worker is added."""
    if policy is None:
        return None, None
    if not isinstance(policy, dict):
        raise InvalidJob("""'policy' must be an object such as {"executionTimeout": 600000, "ttl": 86400000}""")
    return _seconds(policy, "executionTimeout"), _seconds(policy, "ttl")


def _seconds(policy: dict[str, Any], name: str) -> float | None:
    value = policy.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= WEEK_MILLISECONDS:
        raise InvalidJob(f"'policy.{name}' must be a number of milliseconds above 0, at most a week")
    return value / 1000


def _webhook(url: Any, *, private: bool) -> str:
    """The address as it came, if its form is one that may be asked; what its name leads to is seen when it is."""
    if url is None or url == "":
        return ""
    if not isinstance(url, str):
        raise InvalidJob("'webhook' must be an address such as https://example.com/done")
    try:
        addresses.parsed(url, private=private)
    except addresses.AddressRefused as refused:
        raise InvalidJob(f"'webhook' cannot be called: {refused}") from None
    return url


def _key(key: str) -> str:
    if len(key) > LONGEST_KEY:
        raise InvalidJob(f"The Idempotency-Key must have at most {LONGEST_KEY} characters")
    return key
