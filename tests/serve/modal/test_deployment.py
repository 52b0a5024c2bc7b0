"""What is deployed on Modal is what the settings say, where it is deployed and in the containers alike."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from comfyport.errors import InvalidSetting
from comfyport.serve.modal_service import deployment
from comfyport.settings import ModalSettings
from emulators.modal import ModalEmulator
from tests.conftest import ROOT
from tests.serve.modal.deploying import SECRETS, client, deployed, functions, image_environ

# Deploying and starting containers, on a machine that may be busy: only a hang takes so long.
pytestmark = pytest.mark.timeout(600)

CHOSEN = {
    "COMFYPORT_MODAL_APP": "studio",
    "COMFYPORT_MODAL_GPU": "H100,A100-80GB:2",
    "COMFYPORT_MODAL_VOLUME": "studio-models",
    "COMFYPORT_MODAL_VOLUME_VERSION": "2",
    "COMFYPORT_MODAL_SECRET": "studio-secret",
    "COMFYPORT_MODAL_REGION": "us-east,eu",
    "COMFYPORT_MODAL_TIMEOUT": "900",
    "COMFYPORT_MODAL_START_TIMEOUT": "1200",
    "COMFYPORT_MODAL_SCALEDOWN": "60",
    "COMFYPORT_MODAL_MAX_CONTAINERS": "5",
    "COMFYPORT_MODAL_BUFFER_CONTAINERS": "1",
    "COMFYPORT_MODAL_SNAPSHOT": "true",
    "COMFYPORT_MODAL_UI": "true",
    "COMFYPORT_MODAL_UI_GPU": "L4",
    "COMFYPORT_MODAL_UI_SCALEDOWN": "120",
    "MODEL_GROUPS": "flux,wan",
}


def test_without_settings_one_gpu_class_runs_when_there_is_work_and_nothing_else_does(tmp_path: Path):
    with deployed(image_environ(tmp_path)) as platform:
        made = functions(platform)
        containers = platform.containers

    scaling = made["ComfyUI.*"]["scaling"]
    assert made["ComfyUI.*"]["gpu"] == ["L40S"]
    assert (scaling["min_containers"], scaling["max_containers"], scaling["scaledown_window"]) == (0, None, 300)
    assert made["ComfyUI.*"]["snapshot"] == {"memory": False, "gpu": False}
    assert "Page.*" not in made
    assert containers == []


def test_every_setting_reaches_modal(tmp_path: Path):
    image = image_environ(tmp_path)
    with ModalEmulator(secrets={"studio-secret": SECRETS["comfyport"]}, env=image) as platform:
        done = client(platform, "-m", "modal", "deploy", ROOT / "modal_entry.py", **CHOSEN)
        assert done.returncode == 0, done.stdout + done.stderr
        made = functions(platform)
        name = platform.deployments[0]["name"]
        carried = platform.deployments[0]["images"][0]["environment"]

    jobs, page = made["ComfyUI.*"], made["Page.*"]
    assert name == "studio"
    assert jobs["gpu"] == ["H100", "A100-80GB:2"]
    assert jobs["volumes"] == {"/cache": {"name": "studio-models", "version": 2, "read_only": False}}
    assert jobs["secrets"][0]["name"] == "studio-secret"
    assert [function["regions"] for function in made.values()] == [["us-east", "eu"]] * len(made)
    assert (jobs["timeout"], jobs["startup_timeout"]) == (900, 1200)
    assert jobs["scaling"]["scaledown_window"] == 60
    assert (jobs["scaling"]["max_containers"], jobs["scaling"]["buffer_containers"]) == (5, 1)
    assert jobs["snapshot"]["memory"]
    assert page["gpu"] == ["L4"]
    assert (page["scaling"]["max_containers"], page["scaling"]["scaledown_window"]) == (1, 120)
    assert page["web"][0]["requires_proxy_auth"]
    assert page["volumes"] == jobs["volumes"]
    assert carried["MODEL_GROUPS"] == "flux,wan"


@pytest.mark.parametrize("settings", [{}, CHOSEN | {"MODEL_GROUPS": ""}], ids=["none", "every one"])
def test_a_container_declares_what_was_declared_where_it_was_deployed(settings: dict[str, str], tmp_path: Path):
    assert declared_in_container(settings, tmp_path) == declared_locally(settings, tmp_path / "local.json")


def declared_locally(settings: dict[str, str], file: Path) -> Any:
    """What an import of `modal_entry` where it is deployed declares."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import modal_entry; import tests.serve.modal.describe"
    environ = os.environ | settings | {"DESCRIBE_TO": str(file)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    return json.loads(file.read_text())


def declared_in_container(settings: dict[str, str], folder: Path) -> Any:
    """What the import in Modal's container runtime declares, where the settings are those that the image carries."""
    image = image_environ(folder, PYTHONPATH=str(folder / "site"), DESCRIBE_TO=str(folder / "remote.json"))
    (folder / "site").mkdir()
    shutil.copyfile(Path(__file__).with_name("describe.py"), folder / "site" / "sitecustomize.py")
    secrets = {settings.get("COMFYPORT_MODAL_SECRET", "comfyport"): SECRETS["comfyport"]}
    with ModalEmulator(secrets=secrets, env=image) as platform:
        done = client(platform, "-m", "modal", "run", f"{ROOT / 'modal_entry.py'}::verify_models", **settings)
        assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "remote.json").read_text())


def test_a_container_that_is_to_be_kept_is_ready_before_the_first_job(tmp_path: Path):
    with deployed(image_environ(tmp_path), COMFYPORT_MODAL_MIN_CONTAINERS="1") as platform:
        while "ready for jobs" not in platform.logs:
            time.sleep(0.05)
        containers = [container["function"] for container in platform.containers]

    assert containers == ["ComfyUI.*"]


def test_containers_that_always_run_are_warned_of_with_what_they_cost(tmp_path: Path):
    image = image_environ(tmp_path)
    kept = {"COMFYPORT_MODAL_MIN_CONTAINERS": "2", "COMFYPORT_MODAL_GPU": "A100-80GB:2"}
    with ModalEmulator(secrets=SECRETS, env=image, most_containers=0) as platform:
        warned = client(platform, "-m", "modal", "deploy", ROOT / "modal_entry.py", **kept)
        unwarned = client(platform, "-m", "modal", "deploy", ROOT / "modal_entry.py")

    assert warned.returncode == unwarned.returncode == 0, warned.stdout + warned.stderr
    assert "keeps 4 GPUs (A100-80GB) running" in warned.stderr
    assert "24 h a day, 2920 GPU hours a month" in warned.stderr
    assert "GPU hours" not in unwarned.stdout + unwarned.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"COMFYPORT_MODAL_MIN_CONTAINERS": "3", "COMFYPORT_MODAL_MAX_CONTAINERS": "2"},
            "COMFYPORT_MODAL_MIN_CONTAINERS.*allows 2",
        ),
        ({"COMFYPORT_MODAL_SCALEDOWN": "1"}, "COMFYPORT_MODAL_SCALEDOWN.*2 to 3600"),
        ({"COMFYPORT_MODAL_SCALEDOWN": "7200"}, "COMFYPORT_MODAL_SCALEDOWN.*2 to 3600"),
        ({"COMFYPORT_MODAL_VOLUME_VERSION": "3"}, "COMFYPORT_MODAL_VOLUME_VERSION.*1 or 2"),
        ({"COMFYPORT_MODAL_MIN_CONTAINERS": "-1"}, "COMFYPORT_MODAL_MIN_CONTAINERS.*at least 0"),
    ],
)
def test_what_modal_would_not_take_is_told_by_the_name_of_its_variable(settings: dict[str, str], told: str):
    with pytest.raises(InvalidSetting, match=told):
        deployment.gpu_class(ModalSettings.load(settings))


def test_the_settings_come_back_from_the_environment_that_carries_them():
    chosen = ModalSettings.load(CHOSEN)

    assert ModalSettings.load(chosen.as_environ()) == chosen
