"""What would bring a missing model, as the lock and the notice board know it."""

import json
from pathlib import Path
from typing import Any

import pytest

from comfyport.comfyui.needs import ModelFile
from comfyport.errors import InvalidLock
from comfyport.jobs.hints import Hints
from comfyport.models.lock import Lock
from comfyport.status import Board

SOURCE = {"type": "url", "url": "http://127.0.0.1:9/a"}


def an_entry(path: str, *groups: str) -> dict[str, Any]:
    directory, _, name = path.partition("/")
    return {"directory": directory, "name": name, "groups": list(groups), "sources": [SOURCE]}


LOCK = Lock.model_validate(
    {
        "version": 1,
        "models": [
            an_entry("checkpoints/flux1-dev.safetensors", "default"),
            an_entry("checkpoints/SDXL/base.safetensors", "default"),
            an_entry("diffusion_models/wan2.safetensors", "wan", "video"),
            an_entry("vae/model.safetensors", "default"),
            an_entry("loras/model.safetensors", "wan"),
        ],
    }
)


def board(folder: Path, **states: Any) -> Board:
    """A board on which the files with these base names (without suffix) have these states."""
    written = Board(folder)
    files = []
    for entry in LOCK.models:
        state = states.get(entry.name.rsplit("/", 1)[-1].partition(".")[0])
        if state:
            files.append({"path": entry.path, "directory": entry.directory, "name": entry.name, **state})
    written.write("models", {"state": "running", "error": None, "files": files})
    return written


def hint(file: ModelFile, on: Board, *groups: str, downloads: bool = True) -> str:
    return Hints(lambda: LOCK, groups, on, downloads=downloads)(file)


def test_a_file_of_another_group_is_told_with_its_groups(tmp_path: Path):
    told = hint(ModelFile("diffusion_models", "wan2.safetensors"), Board(tmp_path))

    assert told == (
        "It is in the lock as diffusion_models/wan2.safetensors, in the group wan or video, which this worker does not "
        "have: add it to MODEL_GROUPS."
    )


@pytest.mark.parametrize("state", ["waiting", "downloading"])
def test_a_file_that_is_on_its_way_is_told(tmp_path: Path, state: str):
    on = board(tmp_path, **{"flux1-dev": {"state": state}})

    told = hint(ModelFile("checkpoints", "flux1-dev.safetensors"), on)

    assert told.endswith("and is still to be downloaded: send the job again.")


def test_a_file_whose_download_failed_is_told_with_the_reason(tmp_path: Path):
    on = board(tmp_path, **{"flux1-dev": {"state": "failed", "error": {"code": "x", "message": "it is gated"}}})

    assert hint(ModelFile("checkpoints", "flux1-dev.safetensors"), on).endswith("its download failed: it is gated")


def test_a_worker_that_downloads_nothing_says_so(tmp_path: Path):
    told = hint(ModelFile("checkpoints", "flux1-dev.safetensors"), Board(tmp_path), downloads=False)

    assert "DOWNLOAD_MODELS_ON_STARTUP" in told


def test_a_file_that_lies_in_another_folder_is_told_with_both(tmp_path: Path):
    on = board(tmp_path, **{"flux1-dev": {"state": "ready"}})

    told = hint(ModelFile("diffusion_models", "flux1-dev.safetensors"), on)

    assert "as checkpoints/flux1-dev.safetensors, but this node looks in models/diffusion_models/" in told


def test_a_file_that_is_called_without_its_folder_is_told_its_whole_name(tmp_path: Path):
    on = board(tmp_path, base={"state": "ready"})

    told = hint(ModelFile("checkpoints", "base.safetensors"), on)

    assert told == "It is in the lock as checkpoints/SDXL/base.safetensors: name it SDXL/base.safetensors."


def test_of_two_files_of_one_name_the_one_is_meant_that_lies_where_the_node_looks(tmp_path: Path):
    assert "vae/model.safetensors" in hint(ModelFile("vae", "model.safetensors"), Board(tmp_path))
    assert "loras/model.safetensors" in hint(ModelFile("loras", "model.safetensors"), Board(tmp_path))


def test_a_file_that_is_nowhere_is_told_with_the_nearest_one(tmp_path: Path):
    told = hint(ModelFile("checkpoints", "flux1-dev-fp8.safetensors"), Board(tmp_path))

    assert told == (
        "The lock has no such file; the nearest is checkpoints/flux1-dev.safetensors (group default). "
        "Add an entry for it to models.lock.json, or put it into models/checkpoints/."
    )


def test_the_lock_is_read_when_the_first_file_is_missing_and_then_no_more(tmp_path: Path):
    reads: list[int] = []

    def load() -> Lock:
        reads.append(1)
        return LOCK

    hints = Hints(load, (), Board(tmp_path), downloads=True)
    assert not reads

    hints(ModelFile("", "a.safetensors"))
    hints(ModelFile("", "model.safetensors"))

    assert len(reads) == 1


def test_a_lock_that_cannot_be_read_is_none(tmp_path: Path):
    def load() -> Lock:
        raise InvalidLock("models.lock.json", ["it is not JSON"])

    told = Hints(load, ("wan",), Board(tmp_path), downloads=True)(ModelFile("", "model.safetensors"))

    assert told.startswith("It is not in the lock.")
    json.dumps(told)
