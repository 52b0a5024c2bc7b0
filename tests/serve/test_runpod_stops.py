"""Which jobs are stopped, and which are not although RunPod said so once."""

import asyncio

from comfyport.serve.runpod_worker.stops import Stops


class Channel:
    """What RunPod's stop channel says, one poll after the other."""

    def __init__(self, *polls: list[str]) -> None:
        self._polls = list(polls)
        self.heard = asyncio.Event()

    async def fetch(self) -> list[str]:
        if not self._polls:
            self.heard.set()
            await asyncio.Future()
        return self._polls.pop(0)


async def hear(stops: Stops, channel: Channel) -> None:
    hearing = asyncio.create_task(stops.hear())
    await channel.heard.wait()
    hearing.cancel()
    await asyncio.wait({hearing})


async def test_jobs_at_work_are_stopped():
    channel, stopped = Channel(["a", "b"], ["c"]), []
    stops = Stops(channel.fetch, lambda job_id: stopped.append(job_id) is None)

    await hear(stops, channel)

    assert stopped == ["a", "b", "c"]


async def test_a_stop_that_comes_before_its_job_holds_for_that_job_once():
    channel = Channel(["early"])
    stops = Stops(channel.fetch, lambda job_id: False)

    await hear(stops, channel)

    assert stops.arrived("early")
    assert not stops.arrived("early")
    assert not stops.arrived("other")


async def test_a_stop_for_a_job_that_has_ended_does_not_stop_it_when_it_is_sent_again():
    channel = Channel(["job"])
    stops = Stops(channel.fetch, lambda job_id: False)
    stops.arrived("job")

    await hear(stops, channel)

    assert not stops.arrived("job")
