"""What a start consists of beside ComfyUI itself: the download step, the warm-up, and the report of both."""

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from comfyport.comfyui.process import dying_with_us
from comfyport.errors import ComfyportError, InvalidSetting, ModelError
from comfyport.status import Board

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
STOP_SECONDS = 3.0


class Download:
    """The commands `comfyport models sync` and `prefetch` as children, from `start` to `stop`.

    `wait_seconds` is how much of the download may be left when jobs are taken; None: nothing.
    """

    def __init__(self, board: Board, environ: Mapping[str, str], *, wait_seconds: float | None) -> None:
        self._board = board
        self._environ = environ
        self._wait_seconds = wait_seconds
        self._steps: list[asyncio.subprocess.Process] = []
        self._watching: asyncio.Task[ModelError | None] | None = None
        self._stopping = False

    async def start(self, *, prefetch: bool) -> None:
        """Starts both, side by side."""
        self._board.write("models", {"state": "starting", "error": None, "files": []})
        for name in ("sync", "prefetch") if prefetch else ("sync",):
            self._steps.append(
                await asyncio.create_subprocess_exec(
                    *dying_with_us((sys.executable, "-m", "comfyport", "models", name)),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=dict(self._environ),
                )
            )
        self._watching = asyncio.create_task(self._watch(self._steps[0]), name="download")

    async def stop(self) -> None:
        """Ends what still runs; may be called twice."""
        self._stopping = True
        await asyncio.gather(*(_stop(step) for step in self._steps))

    async def wait_near(self) -> None:
        """Returns when the models are as near as `wait_seconds` asks."""
        while not self._near(self._board.read("models")):
            await asyncio.sleep(POLL_SECONDS)

    async def wait_failure(self) -> ComfyportError:
        """Returns when the download failed as a whole; one file that failed is the matter of the jobs that need it."""
        if self._watching and (failure := await asyncio.shield(self._watching)):
            return failure
        return await asyncio.Future()

    async def _watch(self, sync: asyncio.subprocess.Process) -> ModelError | None:
        """Stays until the step ends; one that was killed left no word. Why the worker cannot go on, if it cannot."""
        status = await sync.wait()
        section = self._board.read("models") or {}
        if not status or self._stopping:
            return None
        whole = section.get("error") or section.get("state") == "starting"
        reason = (section.get("error") or {}).get("message", _ended_with(status))
        if section.get("state") not in ("done", "failed"):
            logger.error("the models' download failed: %s", reason)
            self._board.write("models", _given_up(section, ModelError(f"The models' download failed: {reason}")))
        return ModelError(f"The models' download failed: {reason}") if whole or self._wait_seconds is None else None

    def _near(self, section: dict[str, Any] | None) -> bool:
        if section is None or section["state"] in ("done", "failed"):
            return True
        if section["state"] == "starting" or self._wait_seconds is None:
            return False
        left = section["seconds_left"]
        return left is not None and left <= self._wait_seconds


class Report:
    """The section `start` of the board: seconds from the start until each phase was over, as soon as it is."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._started = time.monotonic()
        self._phases: dict[str, float] = {}

    async def phase(self, name: str, over: Awaitable[Any]) -> None:
        """Waits for `over` and notes when it was. What it raises is raised."""
        await over
        self.note(name)

    def note(self, name: str) -> None:
        """A phase is over now."""
        self._phases[name] = round(time.monotonic() - self._started, 3)
        self._board.write("start", {"seconds": self._phases})


async def warm_up(file: Path, perform: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
    """Runs the workflow in `file`, so that its models are loaded before the first job comes.

    Raises InvalidSetting if the file is no workflow; a workflow that fails is told in the log, and jobs are taken.
    """
    try:
        workflow = json.loads(await asyncio.to_thread(file.read_text, encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSetting("WARMUP_WORKFLOW", str(file), f"it cannot be read as JSON: {error}") from None
    try:
        await perform({"id": "warm-up", "input": {"workflow": workflow, "output": {"delivery": "base64"}}})
    except ComfyportError as error:
        logger.error("the warm-up failed: %s", error.message)
    except Exception:
        logger.exception("the warm-up failed")


def _given_up(section: dict[str, Any], error: ModelError) -> dict[str, Any]:
    """The section `models`, whose writer is gone: what is not ready will not be."""
    told = {"code": error.code, "message": error.message}
    files = [
        file if file["state"] in ("ready", "failed") else {**file, "state": "failed", "error": told}
        for file in section.get("files", ())
    ]
    return {**section, "state": "failed", "error": told, "files": files}


def _ended_with(status: int) -> str:
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "it was killed (SIGKILL); most often memory ran out"
    return f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with exit status {status}"


async def _stop(step: asyncio.subprocess.Process) -> None:
    if step.returncode is None:
        with suppress(ProcessLookupError):
            step.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await step.wait()
        except TimeoutError:
            step.kill()
            await step.wait()
