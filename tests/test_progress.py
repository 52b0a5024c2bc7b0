"""How the commands show their work: bars on a terminal, lines in a log, tables for a plan."""

import hashlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfyport.cli.console import BRING, amount, duration, summary
from comfyport.models.events import FileAdvanced, FileFailed, FileReady, FileStarted
from comfyport.models.progress import Progress
from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from tests.conftest import Container, container_environ, entry, write_lock
from tests.terminal import Terminal, run_on_terminal

MIB = 1 << 20
Start = Callable[..., Container]
CONTENTS = {f"{number}.bin": random.Random(number).randbytes((2 + number) * MIB) for number in range(5)}


def model(name: str, content: bytes, **fields: Any) -> dict[str, Any]:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": name}
    pinned = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"directory": "checkpoints", "name": name, "sources": [source], **pinned, **fields}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return write_lock(tmp_path / "lock.json", *(model(name, content) for name, content in CONTENTS.items()))


def on_terminal(tmp_path: Path, lock: Path, *arguments: str, columns: int = 100, **environ: str) -> Terminal:
    whole = container_environ(tmp_path, COMFYPORT_LOCK=str(lock), **environ)
    return run_on_terminal("comfyport", "models", *arguments, environ=whole, columns=columns)


@pytest.mark.parametrize("columns", [100, 60])
def test_a_terminal_has_a_bar_for_each_file_under_way_and_one_for_everything(tmp_path: Path, lock: Path, columns: int):
    with HubEmulator({"owner/name": Repo(CONTENTS)}, rate=0.7 * MIB) as hub:
        shown = on_terminal(tmp_path, lock, "sync", columns=columns, HF_ENDPOINT=hub.url, DOWNLOAD_CONNECTIONS="8")

    assert shown.status == 0
    bars = [[line for line in frame.splitlines() if "━" in line] for frame in shown.frames]
    whole = [lines[-1] for lines in bars if lines]
    assert [line for line in whole if "/ 21.0 MB" not in line] == []
    # Minutes that are left, on a machine that has much else to do, leave a narrow terminal no room for it.
    assert [line for line in whole if "of 5 files" not in line and " min " not in line] == []
    assert any(re.search(r" \d+\.\d MB/s  \d+ s left$", line) for line in whole)
    files = [[line.split()[0] for line in lines[:-1]] for lines in bars]
    assert {path.rpartition("/")[2] for paths in files for path in paths} == CONTENTS.keys()
    assert max(map(len, files)) <= 3
    assert all(len(line) <= columns for lines in bars for line in lines)


def test_a_finished_file_has_a_line_and_no_bar(tmp_path: Path, lock: Path):
    with HubEmulator({"owner/name": Repo(CONTENTS)}) as hub:
        shown = on_terminal(tmp_path, lock, "sync", HF_ENDPOINT=hub.url)

    for name in CONTENTS:
        _, line, after = shown.output.partition(f"models: checkpoints/{name} ready, ")
        assert line, shown.output
        assert not re.search(rf"checkpoints/{name} +\S*━", after)
    assert "5 of 5 files" in shown.frames[-2]
    assert "━" not in shown.last
    assert "5 of 5 ready, 21.0 MB downloaded" in shown.last
    assert "\x1b[?25h" in shown.output, "the cursor is hidden still"


def test_a_terminal_without_controls_gets_lines(tmp_path: Path, lock: Path):
    whole = container_environ(tmp_path, COMFYPORT_LOCK=str(lock))
    with HubEmulator({"owner/name": Repo(CONTENTS)}) as hub:
        shown = run_on_terminal(
            "comfyport", "models", "sync", environ=whole | {"HF_ENDPOINT": hub.url}, columns=100, kind="dumb"
        )

    assert "━" not in shown.output
    assert "\x1b" not in shown.output
    assert shown.output.count(" ready, ") == 6


def test_verify_shows_bars_and_then_its_answer(tmp_path: Path, lock: Path):
    with HubEmulator({"owner/name": Repo(CONTENTS)}) as hub:
        on_terminal(tmp_path, lock, "sync", HF_ENDPOINT=hub.url)

    shown = on_terminal(tmp_path, lock, "verify", "--full")

    assert any("5 of 5 files" in frame and "21.0 MB / 21.0 MB" in frame for frame in shown.frames)
    assert shown.last.strip() == "5 of 5 models are right"


def test_a_log_has_a_line_for_each_finished_file_and_no_bars(start: Start, lock: Path):
    with HubEmulator({"owner/name": Repo(CONTENTS)}) as hub:
        container = start("comfyport", "models", "sync", COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)
        assert container.end(within=30) == 0

    for name, content in CONTENTS.items():
        assert f"models: checkpoints/{name} ready, {len(content) / 1e6:.1f} MB in " in container.output
    assert "━" not in container.output
    assert "\x1b" not in container.output


def test_a_log_tells_every_few_seconds_how_far_it_is(start: Start, tmp_path: Path):
    content = random.Random(1).randbytes(8 * MIB)
    lock = write_lock(tmp_path / "lock.json", model("a.bin", content))
    with HubEmulator({"owner/name": Repo({"a.bin": content})}, rate=MIB) as hub:
        container = start(
            "comfyport", "models", "sync", COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url, DOWNLOAD_CONNECTIONS="1"
        )
        container.read_until(" left\n")

    line = container.output.splitlines()[-1]
    assert re.fullmatch(r"models: 0 of 1 ready, \d\.\d MB to come at \d\.\d MB/s, \d+ s left", line)


def test_a_plan_on_a_terminal_is_a_table_of_files_and_one_of_groups(tmp_path: Path):
    first, *others = (model(name, content, groups=["all"]) for name, content in CONTENTS.items())
    lock = write_lock(tmp_path / "lock.json", first | {"groups": ["all", "few"], "size": 1 << 60}, *others)

    shown = on_terminal(tmp_path, lock, "plan", MODEL_GROUPS="all,few")

    rows = [line.split() for line in shown.last.splitlines()]
    assert ["action", "model", "size", "why"] in rows
    assert ["missing", "checkpoints/1.bin", "3.1", "MB"] in rows
    assert ["few", "1", "0", "1152921504.61", "GB", "1152921504.61", "GB"] in rows
    assert "It does not fit" in shown.last
    assert shown.status == 3


def test_a_plan_in_a_pipe_is_plain_lines_and_its_json_has_bytes_per_group(start: Start, tmp_path: Path):
    fields = {"0.bin": ["a"], "1.bin": ["a", "b"]}
    lock = write_lock(tmp_path / "lock.json", *(model(name, CONTENTS[name], groups=fields[name]) for name in fields))
    environ = {"COMFYPORT_LOCK": str(lock), "MODEL_GROUPS": "a,b"}
    plain, as_json = (start("comfyport", "models", "plan", *more, **environ) for more in ((), ("--json",)))

    assert (plain.end(), as_json.end()) == (3, 3)
    assert "missing    checkpoints/0.bin\n" in plain.output
    nothing_unknown = {"unknown": 0, "unknown_to_fetch": 0}
    assert json.loads(as_json.output)["groups"] == {
        "a": {"files": 2, "have": 0, "bytes": 5 * MIB, "bytes_to_fetch": 5 * MIB, **nothing_unknown},
        "b": {"files": 1, "have": 0, "bytes": 3 * MIB, "bytes_to_fetch": 3 * MIB, **nothing_unknown},
    }


def test_what_an_earlier_run_has_left_is_no_part_of_the_rate():
    state = Progress([entry(size=100)])
    path = "checkpoints/a.safetensors"

    state.observe(FileStarted(path, 100, bytes_there=60))
    state.observe(FileAdvanced(path, 70))

    assert (state.bytes_done, state.bytes_left, state.bytes_total) == (70, 30, 100)
    assert state.rate <= 10 / 0.1


def test_what_was_there_and_what_will_be_linked_is_no_part_of_the_work():
    entries = [entry(name=name, size=size, sha256=digit * 64) for name, size, digit in ("a7a", "b5b", "c5b", "d9d")]
    state = Progress([each.model_copy(update={"size": int(each.size or 0)}) for each in entries])

    state.observe(FileReady("checkpoints/a", 7))
    state.observe(FileStarted("checkpoints/b", 5))
    state.observe(FileAdvanced("checkpoints/b", 2))
    state.observe(FileFailed("checkpoints/d", "code", "message"))

    assert (state.bytes_done, state.bytes_total) == (2, 5)
    assert summary(state, BRING).startswith("1 of 4 ready, 0.0 MB to come")
    assert {"bytes_done": 2, "bytes_total": 5, "bytes_left": 3}.items() <= state.as_section().items()


def test_amounts_and_durations_read_as_people_write_them():
    assert [amount(size) for size in (0, 1_500_000, 2_132_696_762)] == ["0.0 MB", "1.5 MB", "2.13 GB"]
    assert [duration(seconds) for seconds in (0.4, 59, 200, 3900)] == ["0 s", "59 s", "3 min 20 s", "1 h 5 min"]


def test_the_check_of_what_is_there_and_the_download_are_timed_apart():
    progress = Progress([entry(size=10)])

    progress.observe(FileStarted("checkpoints/a.safetensors", 10))
    progress.finish()

    assert progress.as_section()["seconds"].keys() == {"verify", "download"}
    assert all(seconds >= 0 for seconds in progress.seconds.values())
