"""What a program cost, as the kernel counts it."""

import os
import sys
from pathlib import Path

from bench.measure import Usage, own_peak_bytes, run, tail

BUSY = "import time\nwhile time.process_time() < 0.2: pass"


def run_python(tmp_path: Path, *programs: str, time_limit: float = 30.0) -> Usage:
    commands = [[sys.executable, "-c", program] for program in programs]
    return run(commands, environment=os.environ, folder=tmp_path, log=tmp_path / "log", time_limit=time_limit)


def test_counts_the_cpu_time_of_programs_that_the_program_started(tmp_path: Path):
    usage = run_python(tmp_path, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])")

    assert usage.problem == ""
    assert usage.cpu_seconds >= 0.2


def test_adds_up_programs_that_run_one_after_another(tmp_path: Path):
    usage = run_python(tmp_path, BUSY, BUSY)

    assert usage.cpu_seconds >= 0.4
    assert usage.seconds >= 0.4


def test_sees_the_peak_memory_of_the_largest_program(tmp_path: Path):
    large = own_peak_bytes() + (64 << 20)

    usage = run_python(tmp_path, f"x = b'1' * {large}", "pass")

    assert large < usage.peak_bytes < 2 * large


def test_stops_at_the_first_program_that_fails(tmp_path: Path):
    usage = run_python(tmp_path, "print('no such model'); raise SystemExit(3)", "open('reached', 'w')")

    assert usage.problem == "exit 3"
    assert tail(tmp_path / "log") == "no such model"
    assert not (tmp_path / "reached").exists()


def test_a_program_over_its_time_limit_is_killed(tmp_path: Path):
    usage = run_python(tmp_path, "import signal; signal.pause()", time_limit=0.1)

    assert usage.problem.startswith("killed")
