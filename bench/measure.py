"""Runs a program and says what it cost: wall time, CPU time and peak memory, its own and of the programs it started."""

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 8


@dataclass(frozen=True)
class Usage:
    """What one run cost.

    `seconds` is wall time, process start included; `cpu_seconds` is user and system time of the program and of the
    descendants it waited for; `peak_bytes` is the largest resident set of any one of them. `problem` says why the run
    does not count; empty if it does.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    problem: str = ""


def run(
    commands: Sequence[Sequence[str]],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    time_limit: float,
) -> Usage:
    """Runs programs one after another in `folder`, with their output in `log`; stops at the first that fails.

    Each may take `time_limit` seconds; then it is killed, which is a failure.
    """
    spent, cpu, peak, problem = 0.0, 0.0, 0, ""
    with log.open("wb") as output:
        for command in commands:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            exit_code, usage = _wait(process, time_limit)
            spent += time.perf_counter() - started
            cpu += usage.ru_utime + usage.ru_stime
            # Linux counts in KiB.
            peak = max(peak, usage.ru_maxrss << 10)
            if exit_code:
                problem = _reason(exit_code)
                break
    return Usage(spent, cpu, peak, problem)


def own_peak_bytes() -> int:
    """This program's own peak memory.

    Linux hands it to every program that is started from here as the peak to begin with, so that a smaller one of
    theirs cannot be seen.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def tail(log: Path) -> str:
    """The last lines of a program's output."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])


def _wait(process: "subprocess.Popen[bytes]", time_limit: float) -> tuple[int, resource.struct_rusage]:
    # `wait4` gives this child's usage alone; RUSAGE_CHILDREN would mix in all that ran before.
    killer = threading.Timer(time_limit, _kill, (process.pid,))
    killer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _kill(process.pid)
        process.wait()
        raise
    finally:
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def _kill(process_group: int) -> None:
    os.killpg(process_group, signal.SIGKILL)


def _reason(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "killed: over its time limit, or out of memory"
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit {exit_code}"
