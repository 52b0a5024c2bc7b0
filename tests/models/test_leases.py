"""Who fetches what, among real processes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from comfyport.models.leases import Lease, Leases
from comfyport.models.owner import Owner

# Says "ready", tries to take the lease at the first line of input, and holds it until its input ends.
PROCESS = """
import sys
from pathlib import Path
from comfyport.models.leases import Leases
leases = Leases(Path(sys.argv[1]), heartbeat_seconds=float(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
lease = leases.take("key")
print("taken" if lease else "refused", flush=True)
sys.stdin.read()
if lease:
    lease.release()
"""
ELSEWHERE = Owner("elsewhere", "5d3c", 4026531836, 7, 100)


class Process:
    """Another process that takes the lease `key`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.reads()

    def reads(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def takes(self) -> bool:
        self.go()
        return self.reads() == "taken"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    with ExitStack() as stack:

        def start(heartbeat_seconds: float = 5.0) -> Process:
            process = subprocess.Popen(
                [sys.executable, "-c", PROCESS, str(tmp_path), str(heartbeat_seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return Process(process)

        yield start


def write_lease(folder: Path, owner: Owner, *, age: float = 0.0) -> Path:
    file = folder / "key.json"
    file.write_text(json.dumps({"id": "1", "owner": owner.as_json()}))
    beat = time.time() - age
    os.utime(file, (beat, beat))
    return file


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


@contextmanager
def held(leases: Leases, key: str = "key") -> Iterator[Lease]:
    lease = leases.take(key)
    assert lease
    with lease:
        yield lease


def is_free(leases: Leases) -> bool:
    lease = leases.take("key")
    if lease:
        lease.release()
    return lease is not None


def hearts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "leases"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_one_process_has_a_lease_and_the_other_is_refused(tmp_path: Path, another: Callable[..., Process]):
    leases = Leases(tmp_path)

    with held(leases) as lease:
        assert not another().takes()
        assert not lease.lost

    assert another().takes()


def test_a_living_owner_is_respected(tmp_path: Path, another: Callable[..., Process]):
    owner = another()
    assert owner.takes()

    assert not is_free(Leases(tmp_path))


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path, another: Callable[..., Process]):
    owner = another()
    assert owner.takes()
    owner.kill()

    with held(Leases(tmp_path)):
        now = json.loads((tmp_path / "key.json").read_text())["owner"]

    assert now == Owner.me().as_json()


def test_a_process_that_was_killed_and_not_yet_waited_for_is_dead(tmp_path: Path, another: Callable[..., Process]):
    owner = another()
    assert owner.takes()
    os.kill(owner.process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, owner.process.pid, os.WEXITED | os.WNOWAIT)

    assert is_free(Leases(tmp_path))


def test_other_keys_are_other_leases(tmp_path: Path):
    leases = Leases(tmp_path)

    with held(leases, "one") as one, held(leases, "two") as two:
        assert one is not two

    assert names(tmp_path) == []


def test_of_many_processes_one_gets_a_stale_lease(tmp_path: Path, another: Callable[..., Process]):
    write_lease(tmp_path, ELSEWHERE, age=60)
    processes = [another() for _ in range(8)]

    for process in processes:
        process.go()

    assert sorted(process.reads() for process in processes) == ["refused"] * 7 + ["taken"]


def test_a_process_that_died_while_it_took_a_lease_over_is_in_nobodys_way(tmp_path: Path):
    file = write_lease(tmp_path, ELSEWHERE, age=60)
    left = tmp_path / f"{hashlib.sha256(file.read_bytes()).hexdigest()}.taken"
    left.touch()

    assert not is_free(Leases(tmp_path))
    os.utime(left, (time.time() - 3, time.time() - 3))
    assert is_free(Leases(tmp_path))


def test_a_lease_of_another_machine_is_free_when_its_heartbeat_has_stopped(tmp_path: Path):
    leases = Leases(tmp_path, stale_seconds=20)
    file = write_lease(tmp_path, ELSEWHERE, age=10)

    assert not is_free(leases)
    os.utime(file, (time.time() - 30, time.time() - 30))
    assert is_free(leases)


def test_a_heartbeat_that_stands_still_in_the_future_is_no_heartbeat(tmp_path: Path):
    leases = Leases(tmp_path, stale_seconds=0)
    write_lease(tmp_path, ELSEWHERE, age=-3600)

    assert not is_free(leases)
    assert is_free(leases)


def test_the_heartbeat_keeps_a_lease(tmp_path: Path):
    leases = Leases(tmp_path, heartbeat_seconds=0.01)
    file = tmp_path / "key.json"

    with held(leases) as lease:
        os.utime(file, (0, 0))
        until(lambda: file.stat().st_mtime > 0)

        assert not lease.lost


def test_a_heartbeat_brings_back_a_lease_that_was_tidied_up(tmp_path: Path):
    file = tmp_path / "key.json"

    with held(Leases(tmp_path, heartbeat_seconds=0.01)) as lease:
        file.unlink()
        until(file.exists)

        assert not lease.lost

    assert names(tmp_path) == []


def test_who_lost_a_lease_is_told_and_leaves_the_other_alone(tmp_path: Path):
    lease = Leases(tmp_path, heartbeat_seconds=0.01).take("key")
    assert lease

    (tmp_path / "theirs").write_text(json.dumps({"id": "2", "owner": ELSEWHERE.as_json()}))
    (tmp_path / "theirs").rename(tmp_path / "key.json")
    until(lambda: lease.lost)
    lease.release()

    assert names(tmp_path) == ["key.json"]


def test_releasing_again_leaves_the_next_one_alone(tmp_path: Path):
    leases = Leases(tmp_path)
    first = leases.take("key")
    assert first
    first.release()

    with held(leases):
        first.release()

        assert names(tmp_path) == ["key.json"]


def test_one_heart_beats_for_all_leases_and_ends_with_the_last(tmp_path: Path):
    leases = Leases(tmp_path)
    with held(leases, "one"), held(leases, "two"):
        beating = hearts()

    assert len(beating) == 1
    beating[0].join(10)
    assert hearts() == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": {"host": "h"}}', '{"owner": null}'])
def test_a_file_that_names_nobody_holds_a_lease_for_a_moment_only(tmp_path: Path, content: str):
    file = tmp_path / "key.json"
    file.write_text(content)

    assert not is_free(Leases(tmp_path))
    os.utime(file, (time.time() - 3, time.time() - 3))
    assert is_free(Leases(tmp_path))


def test_a_folder_that_is_not_there_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    leases = Leases(tmp_path / "gone")

    with held(leases) as one, held(leases) as two:
        assert not one.lost
        assert not two.lost

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert leases.remove_stale() == []


def test_a_folder_that_vanishes_leaves_a_lease_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "leases"
    folder.mkdir()

    with held(Leases(folder, heartbeat_seconds=0.01)) as lease:
        folder.rename(tmp_path / "elsewhere")
        until(lambda: bool(caplog.records))

        assert not lease.lost


def test_a_lease_that_cannot_be_read_stops_nobody(tmp_path: Path):
    (tmp_path / "key.json").mkdir()

    with held(Leases(tmp_path)) as lease:
        assert not lease.lost


def test_a_folder_that_cannot_be_written_to_stops_nobody():
    with held(Leases(Path("/proc"))) as lease:
        assert not lease.lost


def test_a_disk_that_takes_no_more_bytes_stops_nobody(tmp_path: Path):
    no_more = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"

    told = subprocess.run([sys.executable, "-c", no_more + PROCESS, tmp_path, "5"], input="\n", stdout=-1, text=True)

    assert told.stdout.split() == ["ready", "taken"]
    assert names(tmp_path) == []


def test_what_nobody_holds_is_removed_and_named(tmp_path: Path):
    leases = Leases(tmp_path)
    write_lease(tmp_path, ELSEWHERE, age=60)
    for name in ("1.taken", "2.clock", "a-file-of-the-user"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))

    with held(leases, "mine"):
        would_go = leases.remove_stale(dry_run=True)
        gone = leases.remove_stale()

        assert would_go == gone == ["1.taken", "2.clock", "key.json"]
        assert names(tmp_path) == ["a-file-of-the-user", "mine.json"]


def test_an_owner_survives_being_written_down():
    assert Owner.from_json(json.loads(json.dumps(Owner.me().as_json()))) == Owner.me()


@pytest.mark.parametrize(
    ("owner", "dead"),
    [
        (Owner.me(), False),
        (replace(Owner.me(), started=1), True),
        (replace(Owner.me(), pid=2**22 + 1), True),
        (replace(Owner.me(), pid=2**80), True),
        (replace(Owner.me(), host="elsewhere"), None),
        (replace(Owner.me(), boot="another"), None),
        (replace(Owner.me(), boot=""), None),
        (replace(Owner.me(), namespace=1), None),
    ],
)
def test_an_owner_is_dead_only_where_that_can_be_seen(owner: Owner, dead: bool | None):
    assert owner.is_dead() is dead
