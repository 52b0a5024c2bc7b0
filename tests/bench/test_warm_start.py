"""The command that times a start on a full volume."""

from pathlib import Path

from tests.bench.conftest import run_bench


def test_times_a_start_that_finds_every_model(tmp_path: Path):
    done = run_bench("bench.warm_start", "--models", "3", "--size", "1", "--runs", "1", "--folder", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert "**A warm start: 3 models of" in done.stdout
    assert "| src/download-models.sh | " in done.stdout
    assert "**exit" not in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
