"""Asks the API of the Hub or of Civitai a question: one GET, a JSON answer, and whatever may pass tried again."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urljoin

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from comfyport.errors import SourceFailed
from comfyport.models.probe import BUSY, REDIRECTS, TryLater, lasting_reason, network_reason, retry_after
from comfyport.models.sources import Request, origin, sendable
from comfyport.models.wire import NETWORK_ERRORS, Wire

SILENCE_SECONDS = 30.0
ATTEMPTS = 4
# A repository of 100,000 files is told in about 30 MB.
LONGEST_ANSWER = 64 << 20
BACKOFF = wait_exponential_jitter(initial=1, max=20)
# A site that asks for more patience than this is told of instead.
LONGEST_RETRY_AFTER = 60.0

Wait = Callable[[RetryCallState], float]


@dataclass(frozen=True)
class Answer:
    """A site's answer: `content` is its JSON, None if it is none; `code` the Hub's word for an error."""

    status: int
    content: Any
    code: str = ""


def ask(request: Request, what: str, *, wait: Wait = BACKOFF) -> Answer:
    """The answer to a question about `what`, refusals included; `wait` says how long before it is asked again.

    Redirects are followed, as the Hub gives them for a repository that was renamed; the token stays with its origins.
    Raises SourceFailed if there is no answer at all, and InvalidSetting for a proxy that cannot be one.
    """

    def patience(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after if isinstance(error, TryLater) else 0.0
        return max(wait(state), min(asked, LONGEST_RETRY_AFTER))

    attempts = Retrying(
        retry=retry_if_exception_type(TryLater),
        stop=stop_after_attempt(ATTEMPTS),
        wait=patience,
        sleep=time.sleep,
        reraise=True,
    )
    try:
        return attempts(_ask, request, what)
    except TryLater as error:
        raise SourceFailed(what, f"{error.reason}. Try again later.", source=request.shown) from None


def _ask(request: Request, what: str) -> Answer:
    url = request.url
    with closing(Wire(SILENCE_SECONDS)) as wire:
        for _ in range(REDIRECTS):
            bearer = {"Authorization": f"Bearer {request.token}"} if request.token else {}
            headers = bearer if origin(url) in request.origins else {}
            try:
                response = wire.get(url, {"Accept": "application/json", **headers})
                if response.status not in (301, 302, 303, 307, 308):
                    return _read(response)
                location = response.headers.get("Location", "")
                wire.finish(response)
            except NETWORK_ERRORS as error:
                if lasting := lasting_reason(error):
                    raise SourceFailed(what, f"{lasting}.", source=request.shown) from None
                raise TryLater(network_reason(error)) from None
            url = _redirected(url, location, request, what)
    raise SourceFailed(what, f"it redirects more than {REDIRECTS} times.", source=request.shown)


def _redirected(url: str, location: str, request: Request, what: str) -> str:
    try:
        following = sendable(urljoin(url, location))
    except ValueError:
        raise SourceFailed(what, "it redirects to an address that is no http address.", source=request.shown) from None
    if url.startswith("https://") and following.startswith("http://"):
        raise SourceFailed(what, "it redirects from https to http.", source=request.shown)
    return following


def _read(response: HTTPResponse) -> Answer:
    if response.status in BUSY:
        raise TryLater(f"it answered {response.status}", after=retry_after(response), busy=True)
    body = response.read(LONGEST_ANSWER + 1)
    try:
        content = json.loads(body) if len(body) <= LONGEST_ANSWER else None
    except (ValueError, RecursionError):
        content = None
    return Answer(response.status, content, response.headers.get("X-Error-Code", ""))
