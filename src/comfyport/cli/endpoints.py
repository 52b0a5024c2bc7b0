"""Where `comfyport run` sends a job: an HTTP face of comfyport, a RunPod endpoint, or a Modal app."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from comfyport.errors import EndpointFailed, InvalidSetting, UsageError
from comfyport.settings import ClientSettings

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


@dataclass(frozen=True)
class State:
    """A job as the endpoint shows it: `output` of a running one is its progress, of an ended one its answer."""

    id: str
    status: str
    output: Any = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED


class Endpoint(Protocol):
    """Takes jobs. All methods raise EndpointFailed, with what to do, when it does not answer as it should."""

    def submit(self, job: dict[str, Any]) -> State:
        """Queues `{"input": …}`."""

    def state(self, job_id: str) -> State:
        """What has become of a job."""

    def cancel(self, job_id: str) -> None:
        """Ends a job that waits or runs."""


def endpoint_for(address: str, settings: ClientSettings) -> Endpoint:
    """The endpoint that `URL`, `runpod:ID` or `modal:APP` names. Raises UsageError or InvalidSetting."""
    scheme, _, name = address.partition(":")
    if scheme == "modal" and name:
        from comfyport.cli.modal_endpoint import ModalEndpoint

        return ModalEndpoint(name)
    if scheme == "runpod" and name:
        if not settings.runpod_api_key:
            raise InvalidSetting("RUNPOD_API_KEY", "", "RunPod answers nobody without a key; set it")
        return HttpEndpoint(f"{settings.runpod_base_url}/{name}", settings.runpod_api_key.reveal())
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{address!r} is no endpoint: write https://…, runpod:<endpoint id> or modal:<app>.")
    if parts.username or parts.password:
        raise UsageError("The endpoint's address holds a password: set COMFYPORT_API_KEY instead.")
    return HttpEndpoint(address.rstrip("/"), settings.api_key.reveal())


class HttpEndpoint:
    """RunPod's routes below `base`: RunPod itself, or comfyport's HTTP face anywhere."""

    def __init__(self, base: str, key: str) -> None:
        self._base = base
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def submit(self, job: dict[str, Any]) -> State:
        """Queues a job. The key lets it be sent twice and queued once, where the endpoint knows of such keys."""
        return self._ask("POST", "run", json=job, headers={"Idempotency-Key": str(uuid.uuid4())})

    def state(self, job_id: str) -> State:
        """What has become of a job."""
        return self._patiently(lambda: self._ask("GET", f"status/{job_id}"))

    def cancel(self, job_id: str) -> None:
        """Ends a job that waits or runs."""
        self._patiently(lambda: self._ask("POST", f"cancel/{job_id}"))

    def _ask(self, method: str, path: str, **options: Any) -> State:
        try:
            response = self._session.request(
                method, f"{self._base}/{path}", timeout=(CONNECT_SECONDS, READ_SECONDS), **options
            )
        except requests.RequestException as error:
            raise _Unreachable(self._base, f"it cannot be reached ({type(error).__name__})") from None
        if response.status_code in (429, 502, 503, 504):
            raise _Unreachable(self._base, f"it answered {response.status_code}")
        if response.status_code >= 400:
            raise EndpointFailed(self._base, _refusal(response))
        try:
            shown = response.json()
            return State(str(shown["id"]), str(shown["status"]), shown.get("output"), shown.get("error"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EndpointFailed(self._base, "its answer is not that of a comfyport or RunPod endpoint") from None

    @staticmethod
    def _patiently(ask: Callable[[], State]) -> State:
        """Asks again where that does no harm: a job may run for hours, and a network has bad moments."""
        patient = retry(
            retry=retry_if_exception_type(_Unreachable),
            stop=stop_after_attempt(6),
            wait=wait_exponential_jitter(initial=0.5, max=15),
            reraise=True,
        )
        return patient(ask)()


class _Unreachable(EndpointFailed):
    """It may answer when it is asked again."""


def _refusal(response: requests.Response) -> str:
    if response.status_code in (401, 403):
        return f"it answered {response.status_code}: set COMFYPORT_API_KEY (RUNPOD_API_KEY for RunPod) to its key"
    try:
        said = response.json()
        reason = said["error"] if isinstance(said, dict) and "error" in said else response.text[:300]
    except ValueError:
        reason = response.text[:300]
    return f"it answered {response.status_code}: {reason}"
