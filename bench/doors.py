"""A worker as a container runs it (`src/start.sh`), behind RunPod's SDK or over HTTP, and jobs through that door."""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
from PIL import Image

from bench import CannotMeasureError
from bench.job_times import JobTime
from bench.tools import bare_environment
from emulators.runpod import RunPodEmulator
from emulators.runpod.sdk_copy import changed_sdk

ROOT = Path(__file__).parent.parent
START = ROOT / "src" / "start.sh"
EMULATOR = ROOT / "emulators" / "comfyui"
READY_SECONDS = 180.0
JOB_SECONDS = 60.0

Json = dict[str, Any]


def comfyui_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says which ComfyUI runs behind the door."""
    parser.add_argument(
        "--comfyui",
        type=Path,
        default=Path(os.environ.get("COMFYUI_DIR") or EMULATOR),
        metavar="DIR",
        help="the ComfyUI to run ($COMFYUI_DIR, else the emulator)",
    )


def named(comfyui: Path) -> str:
    """What a table calls it."""
    return "the emulated ComfyUI" if comfyui == EMULATOR else "ComfyUI on CPU"


def workflow(number: int) -> Json:
    """A picture of 512 x 512 in a colour of its own, so that ComfyUI has nothing of it in its cache."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512, "batch_size": 1, "color": number}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": _prefix(number)}},
    }


class Door(ABC):
    """A worker that is ready while this is entered; jobs are numbered, and no number is used twice."""

    def __init__(self, folder: Path, comfyui: Path, **environ: str) -> None:
        self._folder = folder
        self._comfyui = comfyui
        self._environ = environ
        self._comfyui_port = _free_port()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def series(self, numbers: Sequence[int], *, backlog: bool) -> tuple[JobTime, ...]:
        """Sends a job for each number: all at once, or each when the last has been answered.

        Raises CannotMeasureError unless every answer has the right picture.
        """
        spans = self._send(numbers, backlog=backlog)
        worked = self._comfyui_seconds()
        return tuple(JobTime(*spans[number], worked[_prefix(number)]) for number in numbers)

    @abstractmethod
    def _open(self, stack: contextlib.ExitStack) -> None:
        """Starts what there is behind the door, for `stack` to stop; returns when it is ready."""

    @abstractmethod
    def _send(self, numbers: Sequence[int], *, backlog: bool) -> dict[int, tuple[float, float]]:
        """Does the jobs; by number, when each was begun and answered."""

    def _start(self, stack: contextlib.ExitStack, **environ: str) -> None:
        self._folder.mkdir()
        lock = self._folder / "models.lock.json"
        lock.write_text('{"version": 1, "models": []}', encoding="utf-8")
        whole = bare_environment(self._folder) | {
            "COMFYUI_DIR": str(self._comfyui),
            "COMFYUI_PORT": str(self._comfyui_port),
            "COMFYPORT_DEVICE": "cpu",
            "COMFYPORT_LOCK": str(lock),
            "COMFYPORT_RUN_DIR": str(self._folder / "run"),
            "COMFYPORT_VOLUME": str(self._folder / "volume"),
            "HOST": "127.0.0.1",
        }
        stack.enter_context(_running(whole | environ | self._environ, self._folder / "worker.log"))

    def _comfyui_seconds(self) -> dict[str, float]:
        """How long ComfyUI worked on each prompt, by its own history: from its start to its success."""
        address = f"http://127.0.0.1:{self._comfyui_port}/history"
        with urllib.request.urlopen(address, timeout=30) as response:
            history = json.load(response)
        worked: dict[str, float] = {}
        for entry in history.values():
            at = {kind: data["timestamp"] for kind, data in entry["status"]["messages"]}
            prefix = entry["prompt"][2]["2"]["inputs"]["filename_prefix"]
            worked[prefix] = (at["execution_success"] - at["execution_start"]) / 1000
        return worked

    def _log_tail(self) -> str:
        return "\n".join((self._folder / "worker.log").read_text(errors="replace").splitlines()[-8:])

    def _check(self, number: int, output: Any) -> None:
        """Raises CannotMeasureError unless the picture has the colour of its job."""
        try:
            picture = Image.open(io.BytesIO(base64.b64decode(output["images"][0]["data"])))
        except (KeyError, TypeError, IndexError, ValueError, OSError):
            raise CannotMeasureError(f"job {number} has no picture: {output!r:.500}\n{self._log_tail()}") from None
        if picture.size != (512, 512) or picture.getpixel((0, 0)) != (0, number >> 8, number & 255):
            raise CannotMeasureError(f"job {number} has another job's picture")


class RunPodDoor(Door):
    """RunPod's SDK with the emulated platform; times are those of the platform, from job-take to job-done."""

    def _open(self, stack: contextlib.ExitStack) -> None:
        self._platform = stack.enter_context(RunPodEmulator())
        self._start(stack, **self._platform.environment())
        self._platform.wait(self._platform.submit({"workflow": workflow(0)}), READY_SECONDS)

    def _send(self, numbers: Sequence[int], *, backlog: bool) -> dict[int, tuple[float, float]]:
        submitted: dict[int, str] = {}
        for number in numbers:
            submitted[number] = self._platform.submit({"workflow": workflow(number)})
            if not backlog:
                self._platform.wait(submitted[number], JOB_SECONDS)
        spans = {}
        for number, job_id in submitted.items():
            self._check(number, self._platform.wait(job_id, JOB_SECONDS).get("output"))
            job = self._platform.jobs[job_id]
            spans[number] = (job.started or 0.0, job.finished or 0.0)
        return spans


class StockDoor(RunPodDoor):
    """The same with an SDK that comfyport does not know and therefore leaves at its own pace."""

    def _start(self, stack: contextlib.ExitStack, **environ: str) -> None:
        super()._start(stack, PYTHONPATH=str(changed_sdk(self._folder.with_suffix(".sdk"))), **environ)


class HttpDoor(Door):
    """`/runsync`; of jobs sent one by one the time that the client sees, of a backlog the `executionTime`."""

    def _open(self, stack: contextlib.ExitStack) -> None:
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}/runsync"
        self._start(stack, PORT=str(port))
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._send([0], backlog=False)
            except aiohttp.ClientError:
                if time.monotonic() > end:
                    raise CannotMeasureError(f"the worker is not ready\n{self._log_tail()}") from None
                time.sleep(0.2)
            else:
                return

    def _send(self, numbers: Sequence[int], *, backlog: bool) -> dict[int, tuple[float, float]]:
        return asyncio.run(self._post_all(numbers, backlog=backlog))

    async def _post_all(self, numbers: Sequence[int], *, backlog: bool) -> dict[int, tuple[float, float]]:
        async with aiohttp.ClientSession() as session:
            if backlog:
                posted = await asyncio.gather(*(self._post(session, number, queued=True) for number in numbers))
            else:
                posted = [await self._post(session, number, queued=False) for number in numbers]
        for number, (_, answer) in zip(numbers, posted, strict=True):
            self._check(number, answer.get("output"))
        return {number: span for number, (span, _) in zip(numbers, posted, strict=True)}

    async def _post(
        self, session: aiohttp.ClientSession, number: int, *, queued: bool
    ) -> tuple[tuple[float, float], Json]:
        sent = time.monotonic()
        async with session.post(self._url, json={"input": {"workflow": workflow(number)}}) as response:
            answer = await response.json()
        finished = time.monotonic()
        started = finished - answer.get("executionTime", 0) / 1000 if queued else sent
        return (started, finished), answer


@contextlib.contextmanager
def _running(environ: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [START], env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _prefix(number: int) -> str:
    return f"bench-{number}-"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
