"""What the HTTP door answers with: JSON that always comes out, and every error as its code and status."""

import asyncio
import json
import math
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from comfyport.errors import (
    BodyTooLarge,
    ComfyportError,
    IdempotencyKeyReused,
    InvalidJob,
    InvalidParameters,
    JobUnknown,
    MethodNotAllowed,
    NotOffered,
    NotRetryable,
    PictureMissing,
    QueueFull,
    RequestError,
    ResultDropped,
    RouteUnknown,
    Unauthorized,
    WorkerStopped,
)
from comfyport.serve.job import weigh

# Encoding so much takes some ms.
LARGE_BYTES = 1 << 20
METHODS = ("GET", "HEAD", "POST")
STATUS_CODES: dict[type[ComfyportError], int] = {
    InvalidJob: 400,
    InvalidParameters: 400,
    RequestError: 400,
    Unauthorized: 401,
    JobUnknown: 404,
    PictureMissing: 404,
    RouteUnknown: 404,
    MethodNotAllowed: 405,
    NotRetryable: 409,
    ResultDropped: 410,
    BodyTooLarge: 413,
    IdempotencyKeyReused: 422,
    QueueFull: 429,
    NotOffered: 501,
    WorkerStopped: 503,
}


class Answer(Response):
    """A JSON body. What ComfyUI's answers may hold and JSON may not (NaN, half a character) does not stop it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body's bytes; `content` may be that already."""
        return content if isinstance(content, bytes) else encode(content)


def encode(content: Any) -> bytes:
    """`content` as JSON in ASCII; numbers that JSON has no word for become null."""
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(_finite(content), separators=(",", ":")).encode()


async def encoded(content: Any) -> bytes:
    """What `encode` gives; a large content is encoded in a thread, where others get their turn between its pieces."""
    if weigh(content) < LARGE_BYTES:
        return encode(content)
    return await asyncio.to_thread(_encode_in_pieces, content)


def answer_errors(app: FastAPI) -> None:
    """Lets every error of `app` be answered with its code."""
    app.add_exception_handler(ComfyportError, _answer_ours)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_starlettes)


def refusal(error: ComfyportError, headers: dict[str, str] | None = None) -> Answer:
    """The response to a request that failed with `error`."""
    headers = dict(headers or {})
    if isinstance(error, QueueFull):
        headers["Retry-After"] = str(error.details["retry_after"])
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(error.as_answer(), STATUS_CODES.get(type(error), 500), headers)


async def _answer_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ComfyportError)  # noqa: S101 - registered for this class
    return refusal(error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    problem = error.errors()[0]
    return refusal(InvalidJob(f"{problem['loc'][-1]!r}: {problem['msg']}"))


async def _answer_starlettes(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    ours: RequestError
    match error.status_code:
        case 404:
            ours = RouteUnknown(request.url.path)
        case 405:
            ours = MethodNotAllowed(request.method, request.url.path)
        case _:
            ours = RequestError(str(error.detail))
    response = refusal(ours, dict(error.headers or {}))
    response.status_code = error.status_code
    if error.status_code == 405:
        # Starlette names the methods of the first route at this path only.
        response.headers["Allow"] = ", ".join(method for method in METHODS if _takes(request, method))
    return response


def _takes(request: Request, method: str) -> bool:
    """Whether any route answers to `method` at the path of `request`."""
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


def _encode_in_pieces(content: Any) -> bytes:
    """What `encode` gives: json.dumps does it in one go, during which no other thread runs."""
    try:
        pieces = json.JSONEncoder(allow_nan=False, separators=(",", ":")).iterencode(content)
        return b"".join(piece.encode() for piece in pieces)
    except ValueError:
        return encode(content)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
