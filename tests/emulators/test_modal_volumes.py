"""Who sees what of a Volume: the rules of commit and reload, under the real client and container runtime."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.modal import ModalEmulator
from emulators.modal.volume_copies import Copy, OpenFiles, in_use
from tests.emulators.modal_cli import ask, modal

APP = """
import os
import time
from pathlib import Path
import modal

app = modal.App("sharing")
volume = modal.Volume.from_name("shared", version=VERSION, create_if_missing=True)

def folder():
    return Path(os.environ["MODAL_EMULATOR_VOLUME_SHARED"])

@app.cls(volumes={"/shared": volume}, min_containers=0, scaledown_window=300)
class Box:
    name: str = modal.parameter()

    @modal.enter()
    def start(self):
        self.open = None

    @modal.method()
    def write(self, file: str, text: str):
        (folder() / file).write_text(text)

    @modal.method()
    def read(self, file: str):
        return (folder() / file).read_text() if (folder() / file).exists() else None

    @modal.method()
    def remove(self, file: str):
        (folder() / file).unlink()

    @modal.method()
    def hold(self, file: str):
        self.open = (folder() / file).open()

    @modal.method()
    def commit(self):
        volume.commit()

    @modal.method()
    def reload(self):
        try:
            volume.reload()
        except RuntimeError as error:
            return str(error)
        return "reloaded"

@app.function(volumes={"/shared": volume}, max_containers=3)
def put(number: int):
    (folder() / f"{number}.txt").write_text(str(number))
    time.sleep(0.2)
    return os.environ["MODAL_TASK_ID"]
"""
BOXES = 'Box = modal.Cls.from_name("sharing", "Box"); a, b = Box(name="a"), Box(name="b")\n'


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    entry = tmp_path_factory.mktemp("sharing") / "sharing.py"
    entry.write_text(APP.replace("VERSION", str(request.param)))
    with ModalEmulator(commit_seconds=None, most_containers=3) as emulator:
        done = modal(emulator, "deploy", entry)
        assert done.returncode == 0, done.stdout + done.stderr
        yield emulator


def told(platform: ModalEmulator, *steps: str) -> Any:
    """What each step answers, a method call on box `a` or `b` such as `a.read("x")`."""
    calls = ", ".join(step.replace("(", ".remote(", 1) for step in steps)
    return ask(platform, f"{BOXES}answer = [{calls}]")


def test_what_a_container_writes_is_seen_by_others_after_its_commit_and_their_reload(platform: ModalEmulator):
    answers = told(
        platform,
        *('b.read("new")', 'a.write("new", "1")', "b.reload()", 'b.read("new")'),
        *("a.commit()", 'b.read("new")', "b.reload()", 'b.read("new")'),
    )

    assert answers == [None, None, "reloaded", None, None, None, "reloaded", "1"]


def test_of_two_that_change_one_file_the_last_to_commit_wins(platform: ModalEmulator):
    told(platform, 'a.write("one", "a")', 'b.write("one", "b")', "b.commit()", "a.commit()")

    assert told(platform, "b.reload()", 'b.read("one")') == ["reloaded", "a"]


def test_commits_of_different_files_leave_each_other_alone(platform: ModalEmulator):
    told(platform, 'a.write("of-a", "a")', 'b.write("of-b", "b")', "a.commit()", "b.commit()", 'a.remove("of-a")')

    seen = told(platform, "a.commit()", "b.reload()", 'b.read("of-a")', 'b.read("of-b")', 'a.read("of-b")')

    assert seen[2:] == [None, "b", "b"]


def test_a_reload_is_refused_while_a_file_is_open(platform: ModalEmulator):
    code = 'Box = modal.Cls.from_name("sharing", "Box"); c = Box(name="c")\n'
    steps = ['c.write.remote("held", "x")', "c.commit.remote()", 'c.hold.remote("held")', "c.reload.remote()"]

    answer = ask(platform, f"{code}answer = [{', '.join([*steps, 'c.commit.remote()'])}]")

    assert answer[3] == "there are open files preventing the operation"
    assert answer[4] is None


def test_a_map_spreads_over_containers_and_what_each_has_written_is_kept_at_its_end(platform: ModalEmulator):
    tasks = ask(platform, 'answer = list(modal.Function.from_name("sharing", "put").map(range(6)))')
    stopped = modal(platform, "app", "rollover", "sharing")

    assert len(set(tasks)) > 1
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    seen = 'f = Box(name="late"); answer = [f.read.remote(f"{n}.txt") for n in range(6)]'
    waiting = f"{BOXES}{seen}\nwhile None in answer: f.reload.remote(); {seen.split('; ', 1)[1]}"
    assert ask(platform, waiting) == [str(number) for number in range(6)]


def test_a_client_outside_has_nothing_to_commit(platform: ModalEmulator):
    code = (
        'try: modal.Volume.from_name("shared").commit(); answer = ""\nexcept RuntimeError as error: answer = str(error)'
    )

    assert "not mounted" in ask(platform, code)


def test_background_commits_need_no_call(tmp_path: Path):
    entry = tmp_path / "sharing.py"
    entry.write_text(APP.replace("VERSION", "1"))
    with ModalEmulator(commit_seconds=0.1) as platform:
        assert modal(platform, "deploy", entry).returncode == 0
        waiting = 'a.write.remote("x", "1")\nwhile not b.read.remote("x"): b.reload.remote()\nanswer = True'
        assert ask(platform, BOXES + waiting)


def test_a_mapped_file_is_in_use_until_its_process_ends(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "weights").write_bytes(b"x" * 4096)
    program = (
        "import mmap, sys; file = open(sys.argv[1], 'rb'); "
        "kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); file.close(); print('{}', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "folder" / "weights")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        json.loads(holder.stdout.readline())
        while_held = in_use(tmp_path / "folder")
        holder.communicate("\n")

    assert while_held
    assert not in_use(tmp_path / "folder")


def test_a_copy_keeps_links_times_and_empty_folders(tmp_path: Path):
    store = tmp_path / "store"
    store.mkdir()
    one = Copy("v", store, tmp_path / "one")
    (one.path / "empty").mkdir()
    (one.path / "file").write_text("x")
    (one.path / "link").symlink_to("file")
    one.commit()

    other = Copy("v", store, tmp_path / "other")

    assert (other.path / "empty").is_dir()
    assert str((other.path / "link").readlink()) == "file"
    assert (other.path / "file").stat().st_mtime_ns == (one.path / "file").stat().st_mtime_ns


def test_a_reload_keeps_what_was_not_committed_yet(tmp_path: Path):
    store = tmp_path / "store"
    store.mkdir()
    one, other = Copy("v", store, tmp_path / "one"), Copy("v", store, tmp_path / "other")
    (one.path / "mine").write_text("x")
    (other.path / "theirs").write_text("y")
    other.commit()

    one.reload()

    assert sorted(file.name for file in one.path.iterdir()) == ["mine", "theirs"]


def test_a_copy_that_is_read_only_changes_nothing_for_others(tmp_path: Path):
    store = tmp_path / "store"
    store.mkdir()
    copy = Copy("v", store, tmp_path / "copy", read_only=True)
    (copy.path / "file").write_text("x")

    copy.commit()

    assert list(store.iterdir()) == []


def test_open_files_refuse_a_reload_of_a_copy(tmp_path: Path):
    (tmp_path / "store").mkdir()
    copy = Copy("v", tmp_path / "store", tmp_path / "copy")
    with (copy.path / "file").open("w"), pytest.raises(OpenFiles):
        copy.reload()
