"""What happens to the lock of the folder in which housekeeping was asked for."""

from pathlib import Path
from typing import Any

from comfyport.serve.modal_service.housekeeping import desk


def outcome(lock: str | None) -> dict[str, Any]:
    return {"ok": True, "lines": [], "changed": True, "lock": lock}


def test_what_a_chore_has_made_of_the_lock_is_kept_with_its_line_ends(tmp_path: Path):
    file = tmp_path / "models.lock.json"
    file.write_bytes(b'{"version": 1,\r\n "models": []}')
    text = desk.text_of(file, "models")

    desk.keep(file, text, outcome(text.replace("[]", "[1]")))

    assert file.read_bytes() == b'{"version": 1,\r\n "models": [1]}'
    assert list(tmp_path.iterdir()) == [file]


def test_a_lock_that_somebody_else_has_changed_meanwhile_stays(tmp_path: Path):
    file = tmp_path / "models.lock.json"
    file.write_text("before")
    told = outcome("of the chore")
    file.write_text("of somebody else")

    desk.keep(file, "before", told)

    assert file.read_text() == "of somebody else"
    assert (told["ok"], "Run the command again" in told["lines"][0]) == (False, True)


def test_a_folder_without_a_lock_gets_one_when_there_is_something_to_note(tmp_path: Path):
    file = tmp_path / "nodes.lock.json"
    text = desk.text_of(file, "nodes")

    desk.keep(file, text, outcome(None))
    desk.keep(file, text, outcome(text))
    before = file.exists()
    desk.keep(file, text, outcome("new"))

    assert (before, file.read_text()) == (False, "new")
