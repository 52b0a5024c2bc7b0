"""Models read ahead: which bytes, how many, and what is left alone."""

import errno
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from comfyport.models import prefetch as room
from comfyport.models.prefetch import BLOCK, budget, prefetch
from comfyport.models.volume import Volume
from tests.conftest import container_environ, write_lock

ALL = 1 << 40
MEMINFO = "MemTotal:       24684032 kB\nMemFree:         1000000 kB\nMemAvailable:    1000 kB\n"
COMMAND = "import typer; from comfyport.cli.prefetch import prefetch_command; typer.run(prefetch_command)"


def cold(file: Path, size: int) -> Path:
    """A file on the disk and not in the page cache."""
    file.write_bytes(os.urandom(size))
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)
    return file


def in_memory(file: Path, place: int) -> bool:
    """Whether the page at `place` is cached."""
    handle = os.open(file, os.O_RDONLY)
    try:
        return os.preadv(handle, [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this disk does not tell what is in memory")
        return False
    finally:
        os.close(handle)


def run(*files: Path, budget: int = ALL, threads: int = 2) -> room.Prefetched:
    return prefetch(files, budget=budget, stop=threading.Event(), threads=threads)


def test_a_cold_file_is_in_memory_afterwards(tmp_path: Path):
    size = 2 * BLOCK + 17
    file = cold(tmp_path / "a", size)
    if in_memory(file, size // 2):
        pytest.skip("this disk keeps its files in memory")
    file = cold(tmp_path / "b", size)

    done = run(file)

    assert done.bytes > 0
    assert done.bytes + done.cached == size
    assert done.files == 1
    assert all(in_memory(file, place) for place in range(0, size, 4096))


def test_what_is_in_memory_is_not_read_again(tmp_path: Path):
    size = 2 * BLOCK + 17
    file = cold(tmp_path / "a", size)
    run(file)
    assert in_memory(file, 0)

    done = run(file)

    assert (done.bytes, done.cached, done.files) == (0, size, 1)


def test_the_budget_is_spent_in_the_locks_order(tmp_path: Path):
    files = [cold(tmp_path / name, BLOCK + 1000) for name in "abc"]

    done = run(*files, budget=BLOCK + 1500)

    assert done.bytes + done.cached == BLOCK + 1500
    assert done.files == 2
    assert run(*files, budget=0).files == 0


def test_files_that_are_not_there_or_cannot_be_read_are_left_out(tmp_path: Path):
    file = cold(tmp_path / "a", 1000)
    (tmp_path / "link").symlink_to("nowhere")

    done = run(tmp_path / "gone", tmp_path, tmp_path / "link", file / "below", file)

    assert (done.bytes + done.cached, done.files) == (1000, 1)


def test_a_file_that_has_two_names_is_read_once(tmp_path: Path):
    file = cold(tmp_path / "a", 1000)
    (tmp_path / "link").symlink_to("a")

    done = run(file, tmp_path / "link")

    assert (done.bytes + done.cached, done.files) == (1000, 1)


def test_nothing_is_read_after_a_stop(tmp_path: Path):
    stop = threading.Event()
    stop.set()

    done = prefetch([cold(tmp_path / "a", 1000)], budget=ALL, stop=stop)

    assert (done.bytes, done.cached, done.files) == (0, 0, 0)


def test_the_priority_of_those_who_ask_is_kept(tmp_path: Path):
    before = os.nice(0)

    run(cold(tmp_path / "a", 1000))

    assert os.nice(0) == before


def test_half_of_what_is_available_may_be_filled(tmp_path: Path):
    assert budget(MEMINFO, tmp_path) == 500 * 1024


def test_nothing_may_be_filled_when_nothing_is_known(tmp_path: Path):
    assert budget("", tmp_path) == 0


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({"memory.max": "max", "memory.current": "5"}, 500 * 1024),
        ({"memory.max": "300000", "memory.current": "100000"}, 100000),
        ({"memory.max": "300000", "memory.current": "250000", "memory.stat": "anon 1\ninactive_file 50000\n"}, 50000),
        ({"memory.max": "300000", "memory.current": "400000"}, 0),
        ({"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "5"}, 500 * 1024),
        (
            {
                "memory/memory.limit_in_bytes": "300000",
                "memory/memory.usage_in_bytes": "250000",
                "memory/memory.stat": "cache 1\ntotal_inactive_file 50000\n",
            },
            50000,
        ),
    ],
)
def test_the_containers_own_limit_counts(tmp_path: Path, files: dict[str, str], allowed: int):
    (tmp_path / "memory").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    assert budget(MEMINFO, tmp_path) == allowed


def command(tmp_path: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", COMMAND],
        env=container_environ(tmp_path, **environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def listed(tmp_path: Path) -> None:
    """A lock with an entry in each of two groups, and their files on the volume."""
    source = {"type": "url", "url": "http://127.0.0.1:9/a"}
    both = [
        {"directory": "vae", "name": f"{group}.safetensors", "groups": [group], "sources": [source]}
        for group in ("default", "more")
    ]
    write_lock(tmp_path / "models.lock.json", *both)
    folder = Volume(tmp_path / "volume").file("vae")
    folder.mkdir(parents=True)
    for name, size in (("default", 1_000_000), ("more", 2_000_000)):
        (folder / f"{name}.safetensors").write_bytes(bytes(size))


@pytest.mark.parametrize(
    ("chosen", "says", "megabytes"),
    [("auto", "1 of 1 files", 1.0), ("more", "1 of 1 files", 2.0), ("default, more", "2 of 2 files", 3.0)],
)
def test_the_command_reads_the_groups_that_are_asked_for(tmp_path: Path, chosen: str, says: str, megabytes: float):
    listed(tmp_path)

    told = command(tmp_path, PREFETCH=chosen)

    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.startswith(f"prefetch: {says}")
    assert told.stderr.count("\n") == 1
    assert sum(float(number) for number in re.findall(r"([\d.]+) MB (?:read|in memory)", told.stderr)) == megabytes


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PREFETCH": "off"}, "off"),
        ({"PREFETCH": "none-such"}, "none-such"),
        ({"COMFYPORT_LOCK": "/nowhere/models.lock.json"}, "does not exist"),
        ({"PORT": "many"}, "PORT"),
    ],
)
def test_the_command_never_fails(tmp_path: Path, environ: dict[str, str], says: str):
    listed(tmp_path)

    told = command(tmp_path, **environ)

    assert (told.returncode, told.stdout) == (0, "")
    assert says in told.stderr
