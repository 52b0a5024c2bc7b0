"""The notice board: whole sections, whoever reads while somebody writes."""

import threading
from pathlib import Path

from comfyport.status import Board


def test_a_section_that_nobody_wrote_is_none(tmp_path: Path):
    assert Board(tmp_path / "run").read("models") is None


def test_reads_what_was_written_and_when(tmp_path: Path):
    board = Board(tmp_path / "run")

    board.write("comfyui", {"state": "ready"})

    section = board.read("comfyui")
    assert section is not None
    assert section["state"] == "ready"
    assert section["at"] > 0


def test_a_reader_never_sees_half_a_section(tmp_path: Path):
    board = Board(tmp_path)
    board.write("models", {"files": []})
    ended = threading.Event()

    def write() -> None:
        for length in range(300):
            board.write("models", {"files": ["x" * 50] * length})
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        assert board.read("models") is not None
    writer.join()


def test_clearing_wipes_what_an_earlier_run_left(tmp_path: Path):
    board = Board(tmp_path)
    board.write("models", {})

    board.clear()

    assert set(board.read_all().values()) == {None}
