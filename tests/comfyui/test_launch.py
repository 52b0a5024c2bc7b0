"""How ComfyUI is called: command line, folders, extra paths."""

import json
import sys
from pathlib import Path

import pytest

from comfyport.comfyui.launch import Folders, Installation, command
from comfyport.errors import ComfyUIMissing


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    directory = tmp_path / "ComfyUI"
    directory.mkdir()
    (directory / "main.py").touch()
    return directory


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "base", tmp_path / "models", tmp_path / "nodes")
    made.models.mkdir()
    made.custom_nodes.mkdir()
    return made


def test_a_folder_without_main_py_is_no_comfyui(tmp_path: Path):
    with pytest.raises(ComfyUIMissing, match="COMFYUI_DIR"):
        Installation.find(tmp_path, python=None, arguments=())


def test_comfyui_runs_in_its_own_environment_if_it_has_one(installed: Path):
    own = installed / "venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()

    assert Installation.find(installed, python=None, arguments=()).python == own


def test_comfyui_runs_in_ours_if_it_has_none(installed: Path):
    assert Installation.find(installed, python=None, arguments=()).python == Path(sys.executable)


def test_the_base_folder_leads_to_the_volume(folders: Folders):
    (folders.models / "insightface").mkdir()

    file = folders.prepare(baked_nodes=folders.custom_nodes, model_directories=("ultralytics/bbox",))

    paths = json.loads(file.read_text())
    assert (folders.base / "models").resolve() == folders.models
    assert (folders.base / "custom_nodes").resolve() == folders.custom_nodes
    assert paths["volume"] == {
        "base_path": str(folders.base),
        "insightface": "models/insightface",
        "ultralytics": "models/ultralytics",
    }
    assert paths["image"] == {"custom_nodes": str(folders.custom_nodes)}


def test_a_folder_of_baked_nodes_that_is_not_there_is_not_named(folders: Folders):
    file = folders.prepare(baked_nodes=Path("/nowhere"), model_directories=())

    assert "image" not in json.loads(file.read_text())


def test_a_volume_that_moved_is_followed(folders: Folders, tmp_path: Path):
    folders.prepare(baked_nodes=Path("/none"), model_directories=())
    moved = Folders(folders.base, tmp_path / "moved", folders.custom_nodes)
    moved.models.mkdir()

    moved.prepare(baked_nodes=Path("/none"), model_directories=())

    assert (folders.base / "models").resolve() == moved.models


def test_arguments_of_the_user_come_last(installed: Path, folders: Folders):
    installation = Installation.find(installed, python=None, arguments=("--lowvram",))

    line = command(installation, folders, Path("/extra.yaml"), port=8188, device="cpu")

    assert line[1] == str(installed / "main.py")
    assert "--listen=127.0.0.1" in line
    assert "--cpu" in line
    assert line[-1] == "--lowvram"
