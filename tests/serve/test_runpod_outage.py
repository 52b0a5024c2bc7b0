"""How a request that fails again and again is repeated, and how often that is said."""

import logging

import aiohttp
import pytest

from comfyport.serve.runpod_worker.outage import LONGEST_SECONDS, Outage, reason
from emulators.runpod import RunPodEmulator


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_up_to_a_limit():
    outage = Outage("asking")

    pauses = [outage.failed("refused") for _ in range(100)]

    assert 0.25 <= pauses[0] <= 0.5
    assert pauses[3] > pauses[0]
    assert LONGEST_SECONDS / 2 <= pauses[-1] <= LONGEST_SECONDS


def test_pauses_are_short_again_after_a_success():
    outage = Outage("asking")
    for _ in range(10):
        outage.failed("refused")

    outage.over()

    assert outage.failed("refused") <= 0.5


def test_an_outage_is_told_once_a_minute_and_at_its_end(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    clock = Clock()
    outage = Outage("asking", clock)

    for second in range(121):
        clock.now = float(second)
        outage.failed("refused")
    outage.over()

    assert [record.getMessage() for record in caplog.records] == [
        "RunPod: asking failed failures=1 reason=refused",
        "RunPod: asking failed failures=61 reason=refused",
        "RunPod: asking failed failures=121 reason=refused",
        "RunPod: asking works again failures=121",
    ]


async def test_the_address_that_was_asked_is_not_told():
    with RunPodEmulator() as platform:
        address = f"{platform.base_url}/nobody/job-take/worker-1?key=secret"
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            with pytest.raises(aiohttp.ClientError) as answered:
                await session.get(address)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError) as refused:
            await session.get(address)

    assert reason(answered.value) == "HTTP 404"
    assert reason(refused.value) == f"cannot connect to 127.0.0.1:{platform.port}"
