"""RunPod's REST API v2 (https://docs.runpod.io/api-reference-v2): requests, tries again, errors without secrets."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from scripts.runpod_deploy.failure import Failed

ENDPOINT = "https://api.runpod.io"
TIMEOUT_SECONDS = (10, 60)
ATTEMPTS = 6
LONGEST_WAIT_SECONDS = 120.0
# Shorter ones (`yes`, `8000`) are no secrets, and would blacken the message.
SHORTEST_SECRET = 6
BACKOFF = wait_exponential_jitter(initial=1, max=30)

JsonObject = dict[str, Any]
Wait = Callable[[RetryCallState], float]


class _Passing(Exception):
    """An answer, or none, that may be another one soon; `pause` in seconds if the platform has named it."""

    def __init__(self, reason: str, *, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class Api:
    """One account. What stands in `secrets` appears in no error; `wait` says when a request is made again."""

    def __init__(
        self, key: str, *, endpoint: str = ENDPOINT, secrets: Iterable[str] = (), wait: Wait = BACKOFF
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._secrets = [secret for secret in (key, *secrets) if len(secret) >= SHORTEST_SECRET]
        self._wait = wait
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str) -> JsonObject:
        """What stands at `path`. Raises Failed."""
        return self._try(lambda: self._ask("GET", path))

    def patch(self, path: str, body: JsonObject) -> JsonObject:
        """Changes what stands at `path`; doing so twice is doing so once. Raises Failed."""
        return self._try(lambda: self._ask("PATCH", path, body))

    def create(self, path: str, body: JsonObject, find: Callable[[], JsonObject | None]) -> JsonObject:
        """Makes something new at `path`, once.

        A request that broke may have been carried out: before it is made again, `find` looks for what it would have
        made. Raises Failed.
        """
        first = True

        def attempt() -> JsonObject:
            nonlocal first
            found = None if first else find()
            first = False
            return found or self._ask("POST", path, body)

        return self._try(attempt)

    def _try(self, attempt: Callable[[], JsonObject]) -> JsonObject:
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Passing)),
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._pause,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _Passing as error:
            raise Failed(f"RunPod did not answer as it should, {ATTEMPTS} times in a row: {error}.") from None

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        named = error.pause if isinstance(error, _Passing) else None
        return self._wait(state) if named is None else min(named, LONGEST_WAIT_SECONDS)

    def _ask(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        asked = f"{method} {path}"
        try:
            answer = self._session.request(method, self.endpoint + path, json=body, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise _Passing(f"{asked}: {type(error).__name__}") from None
        if answer.status_code == 429:
            raise _Passing(f"{asked}: too many requests", pause=_named_pause(answer))
        if answer.status_code >= 500:
            raise _Passing(f"{asked}: status {answer.status_code}")
        if answer.status_code == 401:
            raise Failed("RunPod does not accept RUNPOD_API_KEY. Make a key in its console, under Settings.", 2)
        if answer.status_code == 403:
            raise Failed(f"RUNPOD_API_KEY may not do this: {asked}. Give it the permission to read and write.", 2)
        if not answer.ok:
            raise Failed(f"RunPod refuses {asked} ({answer.status_code}): {self._reason(answer)}")
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Failed(f"RunPod answered {asked} with something that is no JSON object. Is {self.endpoint} its API?")
        return content

    def _reason(self, answer: requests.Response) -> str:
        """Title, detail and reasons of a problem document (RFC 9457); what was sent may be repeated in it."""
        try:
            problem = answer.json()
            text = "; ".join([str(problem["detail"]), *(str(reason) for reason in problem.get("errors", ()))])
        except (ValueError, KeyError, TypeError):
            text = answer.text
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text[:1000]


def _named_pause(answer: requests.Response) -> float | None:
    """Seconds that the answer asks to wait: `Retry-After`, else the window of `RateLimit` that is used up."""
    after = answer.headers.get("Retry-After", "")
    if re.fullmatch(r"\d+", after):
        return float(after)
    empty = re.findall(r"r=0;t=(\d+)", answer.headers.get("RateLimit", ""))
    return max((float(seconds) for seconds in empty), default=None)
