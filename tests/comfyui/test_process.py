"""ComfyUI as a child process; small Python programs play it."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyport.comfyui.process import Health, Supervised
from comfyport.errors import ComfyUIDied

READY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); "


def supervised(program: str, marker: Path, seen: list[Health] | None = None) -> Supervised:
    async def is_ready() -> bool:
        return marker.exists()  # noqa: ASYNC240 - a look at a local file

    return Supervised(
        (sys.executable, "-c", program, str(marker)),
        "http://127.0.0.1:1",
        environ=os.environ,
        ready=is_ready,
        notice=(seen if seen is not None else []).append,
        backoff=(0.0,),
    )


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or goes within 10 s: the kernel takes its time over a killed one."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


async def test_is_ready_when_it_answers(tmp_path: Path):
    async with supervised(READY + "time.sleep(60)", tmp_path / "ready") as comfyui:
        await comfyui.wait_ready()

        assert comfyui.health.state == "ready"
        assert comfyui.health.seconds_to_ready is not None


async def test_is_started_again_when_it_dies(tmp_path: Path):
    async with supervised(READY + "time.sleep(60)", tmp_path / "ready") as comfyui:
        await comfyui.wait_ready()
        first = comfyui.health.pid or 0
        os.kill(first, signal.SIGKILL)
        death = await comfyui.wait_death()
        await comfyui.wait_ready()

        assert isinstance(death, ComfyUIDied)
        assert "memory ran out" in death.message
        assert comfyui.health.pid != first
        assert comfyui.health.restarts == 1


async def test_one_that_cannot_start_is_given_up_with_its_last_lines(tmp_path: Path):
    async with supervised("print('no module named torch'); raise SystemExit(3)", tmp_path / "never") as comfyui:
        failure = await comfyui.wait_failure()

        with pytest.raises(ComfyUIDied):
            await comfyui.wait_ready()

    assert "exit status 3" in failure.message
    assert failure.details["log"] == ["no module named torch"]


async def test_a_long_line_without_an_end_is_read_too(tmp_path: Path):
    program = "print('x' * 300_000, end=''); raise SystemExit(1)"

    async with supervised(program, tmp_path / "never") as comfyui:
        failure = await comfyui.wait_failure()

    assert sum(len(line) for line in failure.details["log"]) > 65_536


@pytest.mark.parametrize("ignore", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
async def test_is_ended_with_all_that_it_started(tmp_path: Path, ignore: str, patience: Callable[[float], None]):
    patience(0.3)
    child = "import subprocess; print('child', subprocess.Popen(['sleep', '60']).pid, flush=True); "
    async with supervised(ignore + child + READY + "time.sleep(60)", tmp_path / "ready") as comfyui:
        await comfyui.wait_ready()
        pid = comfyui.health.pid or 0
    grandchild = int(comfyui.log[0].split()[1])

    assert has_ended(pid)
    assert has_ended(grandchild)
    assert comfyui.health.state == "stopped"


async def test_every_change_is_told(tmp_path: Path):
    seen: list[Health] = []

    async with supervised(READY + "time.sleep(60)", tmp_path / "ready", seen) as comfyui:
        await comfyui.wait_ready()

    assert [health.state for health in seen] == ["starting", "ready", "stopped"]


async def test_the_board_is_told_why_it_died_and_not_what_it_last_said(tmp_path: Path):
    seen: list[Health] = []

    async with supervised("print('a secret prompt'); raise SystemExit(3)", tmp_path / "ready", seen) as comfyui:
        failure = await comfyui.wait_failure()

    assert "a secret prompt" in failure.message
    assert {health.last_error for health in seen if health.last_error} == {"it ended with exit status 3"}


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Shortens the time that a process has between the signal and its killing."""
    return lambda seconds: monkeypatch.setattr("comfyport.comfyui.process.STOP_SECONDS", seconds)
