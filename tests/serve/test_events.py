"""Server-sent events, read by a real client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from comfyport.comfyui.progress import Progress
from comfyport.jobs.events import Preview
from comfyport.serve.events import Ended, StatusChanged
from comfyport.serve.job import Job
from comfyport.serve.stream import server_sent
from tests.serve.conftest import Address, job, slow_job

ASKING = {"Accept": "text/event-stream"}


async def submitted(session: aiohttp.ClientSession, door: Address, body: dict[str, Any]) -> str:
    async with session.post(f"{door.url}/run", json=body) as answer:
        return str((await answer.json())["id"])


async def events(
    session: aiohttp.ClientSession, door: Address, job_id: str, after: str = ""
) -> AsyncIterator[dict[str, Any]]:
    """The events of a job as `EventSource` gives them: `id`, `event`, and `data` read as JSON."""
    headers = ASKING | ({"Last-Event-ID": after} if after else {})
    async with session.get(f"{door.url}/stream/{job_id}", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        fields: dict[str, Any] = {}
        async for line in answer.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name in ("id", "event"):
                fields[name] = value
            elif name == "data":
                fields["data"] = json.loads(value)
            elif not name and fields:
                yield fields
                fields = {}


def progress(step: int) -> Progress:
    return Progress("4", "KSampler", "KSampler", step, 1000, 3, 6)


async def test_a_job_is_followed_from_the_queue_to_its_result(shared_door: Address):
    async with aiohttp.ClientSession() as session:
        job_id = await submitted(session, shared_door, slow_job(4))
        told = [event async for event in events(session, shared_door, job_id)]

    assert [event["id"] for event in told] == [str(number) for number in range(1, len(told) + 1)]
    assert [event["data"]["status"] for event in told[:2]] == ["IN_QUEUE", "IN_PROGRESS"]
    assert [event["data"]["step"] for event in told if event["data"].get("steps")] == [1, 2, 3, 4]
    assert told[-1]["event"] == "result"
    assert told[-1]["data"]["status"] == "COMPLETED"
    assert told[-1]["data"]["output"]["images"]
    assert "preview" not in {event["event"] for event in told}


async def test_who_comes_back_gets_what_came_meanwhile_and_nothing_twice(shared_door: Address):
    async with aiohttp.ClientSession() as session:
        job_id = await submitted(session, shared_door, slow_job(8))
        first = []
        async for event in events(session, shared_door, job_id):
            first.append(event)
            if event["data"].get("step") == 3:
                break
        rest = [event async for event in events(session, shared_door, job_id, after=first[-1]["id"])]

    numbers = [int(event["id"]) for event in first + rest]
    assert numbers == list(range(1, numbers[-1] + 1))
    assert rest[-1]["event"] == "result"


async def test_who_has_the_result_already_is_told_not_to_come_back(shared_door: Address):
    async with aiohttp.ClientSession() as session:
        job_id = await submitted(session, shared_door, job())
        told = [event async for event in events(session, shared_door, job_id)]
        headers = ASKING | {"Last-Event-ID": told[-1]["id"]}
        async with session.get(f"{shared_door.url}/stream/{job_id}", headers=headers) as again:
            status = again.status

    assert status == 204


async def test_previews_come_to_a_job_that_asked_for_them(shared_door: Address):
    async with aiohttp.ClientSession() as session:
        job_id = await submitted(session, shared_door, slow_job(2, previews=True))
        told = [event async for event in events(session, shared_door, job_id)]

    previews = [event["data"] for event in told if event["event"] == "preview"]
    assert previews
    assert previews[0]["media_type"] == "image/jpeg"


async def test_a_failed_and_a_cancelled_job_end_their_streams_with_what_happened(shared_door: Address):
    async with aiohttp.ClientSession() as session:
        running = await submitted(session, shared_door, slow_job(500))
        waiting = await submitted(session, shared_door, {"input": {"workflow": {}}})
        follow_running = asyncio.create_task(_last(events(session, shared_door, running)))
        follow_waiting = asyncio.create_task(_last(events(session, shared_door, waiting)))
        async with session.post(f"{shared_door.url}/cancel/{running}") as answer:
            assert answer.status == 200
        cancelled, failed = await asyncio.gather(follow_running, follow_waiting)

    assert cancelled["data"]["status"] == "CANCELLED"
    assert (failed["data"]["status"], failed["data"]["output"]["error_code"]) == ("FAILED", "invalid_job")


async def test_an_unknown_job_has_no_stream(shared_door: Address):
    url = f"{shared_door.url}/stream/none"
    async with aiohttp.ClientSession() as session, session.get(url, headers=ASKING) as answer:
        body = await answer.json()

    assert (answer.status, body["error_code"]) == (404, "job_unknown")


async def test_silence_is_filled_with_comments():
    waiting = Job("a")
    response = server_sent(waiting, "", keep_alive=0.01)

    first = await anext(response.body_iterator)  # type: ignore[attr-defined]

    assert first == b": ping\n\n"


async def test_a_reader_that_does_not_read_costs_the_backlog_and_no_more():
    running = Job("a", status="IN_PROGRESS")
    reading = server_sent(running, "").body_iterator  # type: ignore[attr-defined]
    running.events.add(StatusChanged("IN_PROGRESS"))
    first = await anext(reading)
    sizes = set()
    previews = set()

    for step in range(20_000):
        running.events.add(progress(step))
        running.events.add(Preview("4", "image/jpeg", b"\xff" * 10_000))
        sizes.add(running.events.size)
        previews.add(sum(isinstance(told.event, Preview) for told in running.events.after(step)))
    running.status = "COMPLETED"
    running.events.add(Ended("COMPLETED"))
    rest = [event async for event in reading]

    assert b"IN_PROGRESS" in first
    assert max(sizes) < 200_000
    assert previews == {1}
    assert len(rest) <= 256
    assert b"event: result" in rest[-1]


async def _last(told: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    async for event in told:
        last = event
    return last
