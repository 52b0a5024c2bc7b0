"""Tells a job's end to the address that came with it: RunPod's body, signed as Standard Webhooks has it.

https://www.standardwebhooks.com: `webhook-id`, `webhook-timestamp`, and `webhook-signature`, an HMAC-SHA256 of
`<id>.<timestamp>.<body>`. A delivery that fails is tried again with growing pauses; nothing else waits for it.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from yarl import URL

from comfyport.jobs import addresses
from comfyport.serve.answers import encoded
from comfyport.serve.job import Job

logger = logging.getLogger(__name__)

Outcome = Literal["delivered", "failed", "refused", "given_up"]

# 1 + 2 + 4 + … s: about two minutes in all, more than RunPod's two tries after 10 s each.
ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
ANSWER_SECONDS = 15.0
# One that hangs holds its place for ANSWER_SECONDS; the others must not notice.
AT_ONCE = 32
# Each holds on to its job's result.
PENDING = 1000


class _Undelivered(Exception):
    """One attempt failed; `pause` is what the receiver asked for, in seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class _Gone(Exception):
    """The receiver does not want to hear any more."""


class Webhooks:
    """Delivers while it is entered. `private` lets private addresses and plain HTTP pass; `count` hears of each end."""

    def __init__(
        self,
        secret: str = "",
        *,
        private: bool = False,
        count: Callable[[Outcome], None] = lambda outcome: None,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._secret = secret
        self._private = private
        self._count = count
        self._pause = wait_exponential_jitter(multiplier=first_pause, max=LONGEST_PAUSE_SECONDS, jitter=first_pause)
        self._pending: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        self._session = addresses.session(private=self._private)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain(0)
        await self._session.close()

    def job_ended(self, job: Job) -> None:
        """Starts the delivery for a job that has ended, if it came with an address."""
        if not job.webhook:
            return
        if len(self._pending) >= PENDING:
            logger.error("webhook given up id=%s: %d others wait", job.id, len(self._pending))
            self._count("given_up")
            return
        delivery = asyncio.create_task(
            self._deliver(job, addresses.parsed(job.webhook, private=self._private)), name=f"webhook {job.id}"
        )
        self._pending.add(delivery)
        delivery.add_done_callback(self._pending.discard)

    async def drain(self, seconds: float) -> None:
        """Waits for what is under way, at most so long; gives up on the rest and says so."""
        if self._pending and seconds:
            await asyncio.wait(self._pending, timeout=seconds)
        for delivery in self._pending:
            delivery.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    async def _deliver(self, job: Job, url: URL) -> None:
        message_id = f"msg_{uuid.uuid4().hex}"
        outcome: Outcome = "given_up"
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Undelivered),
                stop=stop_after_attempt(ATTEMPTS),
                wait=self._wait,
                reraise=True,
            ):
                with attempt:
                    async with self._at_once:
                        await self._post(job, url, message_id)
            outcome = "delivered"
        except _Undelivered as error:
            outcome = "failed"
            logger.error("webhook failed id=%s host=%s after %d tries: %s", job.id, url.host, ATTEMPTS, error)
        except (_Gone, addresses.AddressRefused) as error:
            outcome = "refused"
            logger.error("webhook refused id=%s host=%s: %s", job.id, url.host, error)
        except asyncio.CancelledError:
            logger.error("webhook given up id=%s host=%s: the worker stops", job.id, url.host)
            raise
        finally:
            self._count(outcome)

    async def _post(self, job: Job, url: URL, message_id: str) -> None:
        body = await encoded(job.as_json())
        headers = {"Content-Type": "application/json", **self._signed(message_id, body)}
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)
            ) as answer:
                status, pause = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if refused := _refusal(error):
                raise refused from None
            # The text of the error may have the whole address in it.
            raise _Undelivered(type(error).__name__) from None
        if status == 410:
            raise _Gone("it answered 410")
        if not 200 <= status < 300:
            raise _Undelivered(f"it answered {status}", float(pause) if pause.isdecimal() else 0.0)

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        at = str(int(time.time()))
        headers = {"webhook-id": message_id, "webhook-timestamp": at}
        if self._secret:
            headers["webhook-signature"] = signature(self._secret, message_id, at, body)
        return headers

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.pause if isinstance(error, _Undelivered) else 0.0
        return max(self._pause(state), min(asked, LONGEST_PAUSE_SECONDS))


def signature(secret: str, message_id: str, at: str, body: bytes) -> str:
    """The value of `webhook-signature`; `secret` is `whsec_` and base64, `at` seconds since 1970."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _refusal(error: BaseException | None) -> addresses.AddressRefused | None:
    """The guard's word, if it is among the causes of an error."""
    while error and not isinstance(error, addresses.AddressRefused):
        error = error.__cause__ or getattr(error, "os_error", None)
    return error if isinstance(error, addresses.AddressRefused) else None
