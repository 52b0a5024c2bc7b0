"""The command that compares downloads, from end to end with small files."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import CannotMeasureError
from bench.content import MIB, File, check_space, make
from bench.downloads import Bench, Course
from bench.server import Host
from bench.terminal import in_folder
from bench.tools import Job, Tool, all_tools
from tests.bench.conftest import needs_nginx, run_bench

TINY = ("--size", "1", "--many", "1", "--files", "2", "--runs", "1")
NO_HOST = Host("http://127.0.0.1:9", "http://127.0.0.1:9")


def writing(content: bytes) -> Tool:
    """A tool that does not download but writes this."""

    def job(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
        code = f"import pathlib; pathlib.Path({files[0].name!r}).write_bytes({content!r})"
        return Job(((program, "-c", code),), folder)

    return Tool("writer", sys.executable, job)


def measured(tmp_path: Path, tool: Tool, *, runs: int = 1, warm_up: bool = False) -> str:
    file = make(tmp_path, "model.bin", 3)
    bench = Bench(tmp_path, tmp_path, runs=runs, warm_up=warm_up, time_limit=30)
    (row,) = bench.measure(Course("one", "One", (file,), NO_HOST), [tool]).rows
    return f"{row.label}: {len(row.runs)}"


@needs_nginx
def test_every_installed_tool_brings_the_right_bytes(tmp_path: Path):
    done = run_bench("bench.downloads", *TINY, "--scenarios", "many-uncapped", "--folder", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("**2 files of 1 MiB, uncapped**")
    assert "**exit" not in done.stdout, done.stderr
    assert "**wrong" not in done.stdout, done.stderr
    assert all(f"| {tool.name} " in done.stdout for tool in all_tools())


@needs_nginx
def test_measures_the_chosen_tools_and_scenarios_and_leaves_nothing_behind(tmp_path: Path):
    chosen = ("--tools", "curl", "--scenarios", "one-capped", "one-uncapped")

    done = run_bench("bench.downloads", *TINY, *chosen, "--folder", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| curl") == 2
    assert "| comfyport |" not in done.stdout
    assert "**One file of 1 MiB, at 40 MiB/s per connection**" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_marks_a_tool_that_brings_wrong_bytes(tmp_path: Path):
    label = measured(tmp_path, writing(b"abc"))

    assert label == "writer (**wrong bytes** in 1 of 1): 1"


def test_a_warm_up_does_not_count(tmp_path: Path):
    label = measured(tmp_path, writing(b"abc"), runs=2, warm_up=True)

    assert label.endswith(" in 2 of 2): 2")


def test_says_what_is_missing_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def report(folder: Path) -> None:
        raise CannotMeasureError("curl is not installed")

    assert in_folder(tmp_path, report) == 2

    assert capsys.readouterr().err == "bench: curl is not installed\n"
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_folder_without_room(tmp_path: Path):
    with pytest.raises(CannotMeasureError, match="--folder"):
        check_space(tmp_path, 1 << 60)

    check_space(tmp_path, MIB)
