"""The command that times jobs, and its figures."""

from pathlib import Path

from bench.job_times import JobTime, Series, cells, percentile
from tests.bench.conftest import run_bench

# Two jobs of 30 and 50 ms, of which ComfyUI worked 20 and 30; 5 ms lie between them.
SERIES = Series("comfyport", (JobTime(1.0, 1.030, 0.020), JobTime(1.035, 1.085, 0.030)))


def test_times_jobs_through_both_doors(tmp_path: Path):
    done = run_bench("bench.handler", "--jobs", "2", "--faces", "runpod", "http", "--folder", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert "**2 jobs, one at a time, the emulated ComfyUI**" in done.stdout
    assert done.stdout.count("| comfyport, HTTP | ") == 2
    assert "| RunPod, backlog: gap ms, p50 | at most 20 | " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_overhead_is_what_a_job_takes_beyond_comfyuis_work():
    assert [round(overhead) for overhead in SERIES.overheads] == [10, 20]


def test_a_gap_lies_between_an_answer_and_the_next_job():
    assert [round(gap) for gap in SERIES.gaps] == [5]


def test_jobs_per_second_count_the_gaps():
    assert round(SERIES.per_second, 1) == 23.5


def test_a_percentile_is_one_of_the_values():
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.95) == 4.0


def test_a_row_has_both_percentiles():
    assert cells(SERIES) == ["comfyport", "10.0 / 20.0", "5.0 / 5.0", "30.0 / 50.0", "23.5"]


def test_a_row_has_no_gaps_where_the_client_makes_them():
    assert cells(SERIES, gaps=False)[2] == "-"
