"""ComfyUI as a child process: launched, watched, started again when it dies, stopped with all its children."""

import asyncio
import logging
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

from comfyport.errors import ComfyUIDied, ComfyUIError, ComfyUIUnreachable

logger = logging.getLogger(__name__)
comfyui_log = logging.getLogger("comfyui")

State = Literal["starting", "ready", "restarting", "stopped", "failed"]

LOG_LINES = 40
READY_POLL_SECONDS = 0.05
# Starts in a row that did not come so far that it answers: it will not.
START_ATTEMPTS = 3
BACKOFF_SECONDS = (0.5, 2.0, 5.0, 15.0, 30.0)
# A ComfyUI that has lived so long had a good start; its next death is the first of a new row.
HEALTHY_SECONDS = 60.0
STOP_SECONDS = 3.0
ATTACHED_POLL_SECONDS = 2.0
# One answer that does not come means little: while a checkpoint loads, an answer can take seconds.
ATTACHED_MISSES = 3
MISSED_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Health:
    """The state of ComfyUI as the status board shows it; times in seconds."""

    state: State
    pid: int | None = None
    seconds_to_ready: float | None = None
    restarts: int = 0
    deaths_in_a_row: int = 0
    last_error: str | None = None

    def as_section(self) -> dict[str, Any]:
        """The section `comfyui` of the status board."""
        return asdict(self)


class ComfyUI(ABC):
    """A ComfyUI that runs while this is entered, whoever started it: `Supervised` by us, or `Attached` to.

    `ready` says whether it answers at `url`; `notice` hears of each change of health.
    """

    def __init__(self, url: str, *, ready: Callable[[], Awaitable[bool]], notice: Callable[[Health], None]) -> None:
        self.url = url
        self.health = Health("starting")
        self._ready_now = ready
        self._notice = notice
        self._changed = asyncio.Condition()
        self._death: ComfyUIError = ComfyUIError("ComfyUI was stopped.")
        self._deaths = 0
        self._task: asyncio.Task[None] | None = None

    async def wait_ready(self) -> None:
        """Returns when ComfyUI answers. Raises ComfyUIError when it will not any more."""
        await self._until(lambda: self.health.state in ("ready", "failed", "stopped"))
        if self.health.state != "ready":
            raise self._death

    async def wait_death(self) -> ComfyUIError:
        """Returns why the ComfyUI that runs now ended, as soon as it does."""
        seen = self._deaths
        await self._until(lambda: self._deaths > seen)
        return self._death

    async def wait_failure(self) -> ComfyUIError:
        """Returns why there will be no ComfyUI any more, as soon as that is clear."""
        await self._until(lambda: self.health.state == "failed")
        return self._death

    async def wait_worn_out(self, deaths: int) -> ComfyUIError:
        """Returns why, as soon as ComfyUI is given up or has died `deaths` times in a row."""
        await self._until(lambda: self.health.state == "failed" or self.health.deaths_in_a_row >= deaths)
        return self._death

    async def well(self) -> None:
        """A job went well: the deaths before it are no row any more."""
        if self.health.deaths_in_a_row:
            await self._set(replace(self.health, deaths_in_a_row=0))

    async def replace(self, reason: str) -> None:
        """Ends the ComfyUI that runs now, which is of no use any more, so that another takes its place."""
        logger.error("ComfyUI at %s has to be started again by whoever runs it: %s", self.url, reason)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._live(), name="comfyui")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._set(Health("stopped"), death=ComfyUIError("ComfyUI was stopped."))

    @abstractmethod
    async def _live(self) -> None:
        """Keeps `health` true until cancelled, or until there is no hope."""

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _set(self, health: Health, *, death: ComfyUIError | None = None) -> None:
        async with self._changed:
            self.health = health
            if death:
                self._death = death
                self._deaths += 1
            self._notice(health)
            self._changed.notify_all()


class Supervised(ComfyUI):
    """Runs `command` for as long as it is entered, again and again if it dies."""

    def __init__(
        self,
        command: tuple[str, ...],
        url: str,
        *,
        environ: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]],
        notice: Callable[[Health], None],
        backoff: tuple[float, ...] = BACKOFF_SECONDS,
    ) -> None:
        super().__init__(url, ready=ready, notice=notice)
        self.command = command
        self.environ = environ
        self.backoff = backoff
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._reason_to_end = ""

    async def replace(self, reason: str) -> None:
        """Kills the process, which is then started again; returns when it is gone, its death told with `reason`."""
        if self.health.pid and self.health.state in ("starting", "ready"):
            logger.warning("ComfyUI is ended: %s", reason)
            self._reason_to_end = reason
            seen = self._deaths
            _signal_group(self.health.pid, signal.SIGKILL)
            await self._until(lambda: self._deaths > seen)

    async def _live(self) -> None:
        failed_starts = restarts = in_a_row = 0
        while True:
            started = time.monotonic()
            was_ready, death = await self._one_life(restarts, in_a_row)
            lived_well = time.monotonic() - started > HEALTHY_SECONDS
            in_a_row = 1 if lived_well else self.health.deaths_in_a_row + 1
            failed_starts = 0 if was_ready else failed_starts + 1
            # Anybody may read the board; the log that the message ends with has other people's prompts.
            gone = Health("failed", None, None, restarts, in_a_row, death.details["reason"])
            if failed_starts >= START_ATTEMPTS:
                await self._set(gone, death=death)
                return
            restarts += 1
            logger.error("%s Starting it again.", death.message if was_ready else death.details["reason"])
            await self._set(replace(gone, state="restarting", restarts=restarts), death=death)
            await asyncio.sleep(self.backoff[min(in_a_row, len(self.backoff)) - 1])

    async def _one_life(self, restarts: int, deaths_in_a_row: int) -> tuple[bool, ComfyUIDied]:
        """Starts the process and stays until it ends: whether it was ever ready, and what it died of."""
        started = time.monotonic()
        self.log.clear()
        process = await asyncio.create_subprocess_exec(
            *dying_with_us(self.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.environ),
            start_new_session=True,
        )
        self._reason_to_end = ""
        await self._set(Health("starting", process.pid, None, restarts, deaths_in_a_row))
        reading = asyncio.create_task(self._read_log(process))
        becoming_ready = asyncio.create_task(self._become_ready(started))
        try:
            status = await process.wait()
            # A child of it may hold the pipe open; what it still writes is not waited for.
            await asyncio.wait({reading}, timeout=0.5)
            was_ready = becoming_ready.done()
            return was_ready, ComfyUIDied(self._reason_to_end or _reason(status), log=list(self.log)[-15:])
        finally:
            for task in (becoming_ready, reading):
                task.cancel()
            await _end(process)

    async def _become_ready(self, started: float) -> None:
        while not await self._ready_now():
            await asyncio.sleep(READY_POLL_SECONDS)
        seconds = round(time.monotonic() - started, 3)
        logger.info("ComfyUI is ready seconds=%.1f pid=%s", seconds, self.health.pid)
        await self._set(replace(self.health, state="ready", seconds_to_ready=seconds))

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        pending = b""
        # Read in blocks: a progress bar can write far more than a line's limit without a line's end.
        while block := await process.stdout.read(1 << 16):
            *lines, pending = (pending + block).replace(b"\r", b"\n").split(b"\n")
            for line in (*lines, pending) if len(pending) > 4096 else lines:
                self._note(line)
            pending = b"" if len(pending) > 4096 else pending
        self._note(pending)

    def _note(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self.log.append(text)
            comfyui_log.info("%s", text)


class Attached(ComfyUI):
    """A ComfyUI that somebody else runs: it is watched, never started or stopped."""

    async def _live(self) -> None:
        misses = 0
        while True:
            if await self._ready_now():
                misses = 0
                if self.health.state != "ready":
                    await self._set(Health("ready"))
            else:
                misses += 1
                if self.health.state == "ready" and misses >= ATTACHED_MISSES:
                    death = ComfyUIUnreachable(self.url, "it no longer answers")
                    await self._set(Health("restarting", last_error=death.message), death=death)
            well = self.health.state == "ready" and not misses
            await asyncio.sleep(ATTACHED_POLL_SECONDS if well else MISSED_POLL_SECONDS)


def dying_with_us(command: tuple[str, ...]) -> tuple[str, ...]:
    """`command`, killed by the kernel should this process be killed before it could stop it (where util-linux is)."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--", *command) if setpriv else command


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the process with everything that it started: asks first, then kills."""
    _signal_group(process.pid, signal.SIGTERM)
    if process.returncode is None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            logger.warning("ComfyUI did not stop within %g s and is killed", STOP_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _reason(status: int) -> str:
    if status == -signal.SIGKILL or status == 128 + signal.SIGKILL:
        return "it was killed (SIGKILL); most often memory ran out"
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with exit status {status}"
