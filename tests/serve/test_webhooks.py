"""Webhooks, to a receiver on loopback that checks them with the Standard Webhooks library."""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from comfyport.serve.job import Job
from comfyport.serve.webhooks import Webhooks
from emulators.server import LoopbackServer
from tests.serve.conftest import Door, job

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PATIENCE = 10.0


class Receiver(LoopbackServer):
    """Answers with the next of `answers` (None: not at all), then with 200; keeps what it got."""

    def __init__(self, *answers: int | None, headers: dict[str, str] | None = None) -> None:
        self.answers = list(answers)
        self.headers = headers or {}
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.arrived = threading.Semaphore(0)
        app = web.Application()
        app.router.add_post("/hook", self._take)
        super().__init__(app, handler_cancellation=True)

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        self.arrived.release()
        answer = self.answers.pop(0) if self.answers else 200
        if answer is None:
            await asyncio.sleep(60)
        return web.Response(status=answer or 200, headers=self.headers)


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    opened: list[Receiver] = []

    def open_receiver(*answers: int | None, **options: Any) -> Receiver:
        opened.append(Receiver(*answers, **options).__enter__())
        return opened[-1]

    yield open_receiver
    for receiver in opened:
        receiver.__exit__(None, None, None)


def ended(receiver: LoopbackServer, **fields: Any) -> Job:
    url = f"{receiver.url}/hook?token=secret"
    return Job("job-1", status="COMPLETED", answer={"images": [], "timings": {}}, webhook=url, **fields)


async def delivered(receiver: Receiver, secret: str = SECRET, *, private: bool = True) -> list[str]:
    """The outcomes of one delivery."""
    outcomes: list[str] = []
    async with Webhooks(secret, private=private, count=outcomes.append, first_pause=0.01) as webhooks:
        webhooks.job_ended(ended(receiver))
        await webhooks.drain(PATIENCE)
    return outcomes


async def test_a_delivery_is_verified_by_the_standards_own_library(receive: Callable[..., Receiver]):
    receiver = receive()

    outcomes = await delivered(receiver)

    headers, body = receiver.got[0]
    assert outcomes == ["delivered"]
    assert Webhook(SECRET).verify(body, headers) == json.loads(body)
    assert json.loads(body) == {"id": "job-1", "status": "COMPLETED", "output": {"images": [], "timings": {}}}


async def test_without_a_secret_nothing_is_signed(receive: Callable[..., Receiver]):
    receiver = receive()

    await delivered(receiver, "")

    assert "webhook-signature" not in {name.lower() for name in receiver.got[0][0]}


async def test_a_receiver_that_stumbles_gets_the_same_message_again(receive: Callable[..., Receiver]):
    receiver = receive(500, 503, 302)

    outcomes = await delivered(receiver)

    assert outcomes == ["delivered"]
    assert len(receiver.got) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    for headers, body in receiver.got:
        Webhook(SECRET).verify(body, headers)


async def test_a_redirect_is_not_followed(receive: Callable[..., Receiver]):
    other = receive()
    receiver = receive(307, headers={"Location": f"{other.url}/hook"})

    outcomes = await delivered(receiver)

    assert outcomes == ["delivered"]
    assert (len(receiver.got), other.got) == (2, [])


async def test_a_receiver_that_never_takes_it_is_given_up(receive: Callable[..., Receiver]):
    receiver = receive(*[500] * 20)

    outcomes = await delivered(receiver)

    assert outcomes == ["failed"]
    assert len(receiver.got) == 8


async def test_a_receiver_that_is_gone_is_not_asked_again(receive: Callable[..., Receiver]):
    receiver = receive(410)

    assert await delivered(receiver) == ["refused"]
    assert len(receiver.got) == 1


async def test_a_name_that_leads_to_a_private_address_is_not_called(
    receive: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
):
    receiver = receive()
    outcomes: list[str] = []
    address = Job("job-1", status="COMPLETED", webhook=f"https://localhost:{receiver.port}/hook?token=secret")

    async with Webhooks(SECRET, count=outcomes.append, first_pause=0.01) as webhooks:
        webhooks.job_ended(address)
        await webhooks.drain(PATIENCE)

    assert outcomes == ["refused"]
    assert receiver.got == []
    assert "loopback" in caplog.text


async def test_no_log_line_has_the_address_with_its_query(
    receive: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "comfyport")
    for answers in ([500] * 20, [410]):
        await delivered(receive(*answers))
    with LoopbackServer(web.Application()) as closed:
        pass
    await delivered(closed)  # type: ignore[arg-type]

    assert "webhook failed id=job-1" in caplog.text
    assert "token" not in caplog.text
    assert "/hook" not in caplog.text


async def test_what_hangs_is_given_up_when_the_worker_stops(
    receive: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
):
    receiver = receive(None)
    outcomes: list[str] = []

    async with Webhooks(SECRET, private=True, count=outcomes.append) as webhooks:
        webhooks.job_ended(ended(receiver))
        await asyncio.to_thread(receiver.arrived.acquire)
        await webhooks.drain(0.01)

    assert outcomes == ["given_up"]
    assert "the worker stops" in caplog.text


def test_a_job_over_http_is_told_to_its_webhook_and_a_slow_one_holds_nothing_up(
    door: Door, receive: Callable[..., Receiver]
):
    slow, quick = receive(None), receive()
    address = door(ALLOW_PRIVATE_URLS="true", WEBHOOK_SECRET=SECRET)

    address.post("/runsync", job() | {"webhook": f"{slow.url}/hook"})
    second = address.post("/runsync", job(8) | {"webhook": f"{quick.url}/hook?token=secret"}).json()
    assert quick.arrived.acquire(timeout=PATIENCE)

    headers, body = quick.got[0]
    told = Webhook(SECRET).verify(body, headers)
    assert told == second
    assert told["output"]["images"]
    assert "token" not in address.container.output


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "https://10.0.0.1/x", "https://169.254.169.254/latest", "ftp://a/b", "nonsense", 7]
)
def test_an_address_that_may_not_be_called_is_refused_with_the_job(shared_door: Any, url: Any):
    answer = shared_door.post("/run", job() | {"webhook": url})

    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_job")
    assert "webhook" in answer.json()["error"]
