"""Runs the modal command so that it ends: by itself, or when its time is over."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

# What a command has to end by itself once it was told to, before it is killed.
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Done:
    """How a command ended; `output` is what it wrote, both streams together. `timed_out`: it was ended."""

    status: int
    output: str
    timed_out: bool

    @property
    def ok(self) -> bool:
        """It ended by itself, with 0."""
        return self.status == 0 and not self.timed_out

    @property
    def failure(self) -> str:
        """Why it is not ok, in one line: its last words."""
        if self.timed_out:
            return "it did not end in time"
        lines = [line.strip(" │╭╮╰╯─") for line in self.output.splitlines()]
        return next((line for line in reversed(lines) if line), f"it ended with {self.status}")


def modal(*arguments: str, seconds: float, show: bool = False, environ: Mapping[str, str] | None = None) -> Done:
    """Runs `modal ARGUMENTS` for at most `seconds`; `show` lets what it writes through as it comes."""
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **(environ or {})}
    command = [sys.executable, "-m", "modal", *arguments]
    lines: list[str] = []
    with _running(command, environment) as program, _ended_after(program, seconds) as late:
        for line in program.stdout or ():
            lines.append(line)
            if show:
                sys.stdout.write(f"      {line}")
                sys.stdout.flush()
        status = program.wait()
    return Done(status, "".join(lines), late.is_set())


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A program in a process group of its own, which does not outlive the block."""
    program = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with program:
        try:
            yield program
        finally:
            _end(program)


@contextmanager
def _ended_after(program: "subprocess.Popen[str]", seconds: float) -> Iterator[threading.Event]:
    """Ends the program when `seconds` have passed, and then sets the event."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(program)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _end(program: "subprocess.Popen[str]") -> None:
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, None)):
        if program.poll() is not None:
            return
        os.killpg(program.pid, number)
        try:
            program.wait(patience)
        except subprocess.TimeoutExpired:
            continue
