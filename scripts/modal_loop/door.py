"""The deployed HTTP face, from outside: is it there, and does a job come back done?"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

REQUEST_SECONDS = 30.0
PAUSE_SECONDS = 2.0
UNDER_WAY = ("IN_QUEUE", "IN_PROGRESS")

# The API's key, and the two halves of a proxy auth token for a door that Modal itself guards.
KEY, PROXY_KEY, PROXY_SECRET = "COMFYPORT_API_KEY", "COMFYPORT_PROXY_KEY", "COMFYPORT_PROXY_SECRET"

JsonObject = dict[str, Any]


class NoAnswer(Exception):
    """The door did not answer as it should; the message says what it did."""


@dataclass(frozen=True)
class Door:
    """The HTTP face at `url`, without a slash at its end; `credentials` are the headers that open it."""

    url: str
    credentials: dict[str, str] = field(default_factory=dict, repr=False)

    def health(self) -> JsonObject:
        """What GET /health tells. Raises NoAnswer."""
        return self._ask("/health")

    def wait_healthy(self, seconds: float) -> JsonObject:
        """Asks again and again until it answers, for at most `seconds`. Raises NoAnswer with the last reason."""
        return _repeated(self.health, seconds)

    def run(self, job: JsonObject, seconds: float) -> JsonObject:
        """Sends a job and waits for its end, for at most `seconds`. Raises NoAnswer."""
        started = time.monotonic()
        sent = self._ask("/run", job)
        if "id" not in sent:
            raise NoAnswer(f"/run answered without an id: {json.dumps(sent)[:200]}")
        state = sent
        while state.get("status") in UNDER_WAY:
            if time.monotonic() - started > seconds:
                raise NoAnswer(f"job {sent['id']} was still {state['status']} after {seconds:.0f} s")
            time.sleep(PAUSE_SECONDS)
            state = _repeated(lambda: self._ask(f"/status/{sent['id']}"), REQUEST_SECONDS)
        return state

    def _ask(self, path: str, body: JsonObject | None = None) -> JsonObject:
        request = urllib.request.Request(self.url + path)  # noqa: S310 - modal named the address
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in self.credentials.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:  # noqa: S310
                content = json.load(answer)
        except urllib.error.HTTPError as error:
            raise NoAnswer(f"{path} answered {error.code}: {_words(error)}") from None
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{path}: {error}") from None
        if not isinstance(content, dict):
            raise NoAnswer(f"{path} answered with something that is no JSON object")
        return content


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The headers that what is set in a shell makes."""
    headers = {}
    if key := environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    if environ.get(PROXY_KEY) and environ.get(PROXY_SECRET):
        headers |= {"Modal-Key": environ[PROXY_KEY], "Modal-Secret": environ[PROXY_SECRET]}
    return headers


def _repeated(ask: Callable[[], JsonObject], seconds: float) -> JsonObject:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except NoAnswer:
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def _words(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(500).decode(errors="replace").strip() or error.reason
    except OSError:
        return error.reason
