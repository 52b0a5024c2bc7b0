"""The Modal door: modal_entry.py under the real client and container runtime, against the emulated platform."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from emulators.modal import ModalEmulator
from tests import workflows
from tests.conftest import EMULATOR, ROOT, free_port, picture, write_lock
from tests.recipes.conftest import PLAIN, square, write_recipe

MODEL = b"a model" * 1000
KEY = {"Authorization": "Bearer modal-key"}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubEmulator]:
    with HubEmulator({"owner/name": Repo({"a.safetensors": MODEL})}) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def platform(hub: HubEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    """Modal, with a container's environment as the image would have it, and `modal_entry.py` deployed."""
    folder = tmp_path_factory.mktemp("image")
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.safetensors"}
    entry = {"directory": "checkpoints", "name": "a.safetensors", "sources": [source]}
    digest = hashlib.sha256(MODEL).hexdigest()
    lock = write_lock(folder / "models.lock.json", entry | {"size": len(MODEL), "sha256": digest})
    image = {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(lock),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYUI_PORT": str(free_port()),
        "HF_ENDPOINT": hub.url,
        "RECIPES_DIR": str(write_recipe(folder / "recipes", "square", PLAIN, square())),
    }
    with ModalEmulator(secrets={"comfyport": {"COMFYPORT_API_KEY": "modal-key"}}, env=image) as emulator:
        deployed = modal(emulator, "deploy")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield emulator


def modal(platform: ModalEmulator, verb: str, function: str = "", *arguments: str) -> subprocess.CompletedProcess[str]:
    return modal_client(platform, "-m", "modal", verb, f"{ROOT / 'modal_entry.py'}{function}", *arguments)


def modal_client(platform: ModalEmulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | platform.environment() | {"COLUMNS": "200"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def functions(platform: ModalEmulator, tmp_path: Path) -> dict[str, Any]:
    platform.write_report(tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    (deployment,) = [found for found in report["deployments"] if found["state"] == "deployed"]
    return {function["name"]: function for function in deployment["functions"]}


def test_the_deployment_has_gpu_volume_secret_and_web_endpoint(platform: ModalEmulator, tmp_path: Path):
    deployed = functions(platform, tmp_path)

    assert set(deployed) == {"ComfyUI.*", "api", "post_webhook"}
    assert "L40S" in json.dumps(deployed["ComfyUI.*"]["gpu"])
    assert deployed["ComfyUI.*"]["volumes"]["/cache"]["name"] == "comfyport-models"
    assert deployed["api"]["gpu"] == []
    assert deployed["api"]["web"][0]["type"] == "asgi_app"
    assert {function["secrets"][0]["name"] for function in deployed.values()} == {"comfyport"}


def test_the_image_is_the_dockerfile_with_its_context(platform: ModalEmulator, tmp_path: Path):
    platform.write_report(tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())

    uploaded = json.dumps(report["deployments"][0]["images"])

    for name in (
        "src/start.sh",
        "src/handler.py",
        "src/comfyport/worker.py",
        "models.lock.json",
        "image/worker.lock",
        "recipes/multi-view/recipe.toml",
    ):
        assert name in uploaded
    assert "ENTRYPOINT" in uploaded
    assert "tests/" not in uploaded


@pytest.mark.timeout(200)
def test_models_are_downloaded_verified_and_used_by_a_job(platform: ModalEmulator):
    downloaded = modal(platform, "run", "::download_models")
    verified = modal(platform, "run", "::verify_models", "--full")

    assert downloaded.returncode == 0, downloaded.stdout + downloaded.stderr
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert (Path(platform.volume_dir("comfyport-models")) / "models/checkpoints/a.safetensors").read_bytes() == MODEL


@pytest.mark.timeout(200)
def test_a_job_over_http_runs_in_the_gpu_class(platform: ModalEmulator):
    url = platform.web_url("comfyport", "api")
    body = {"input": {"workflow": workflows.scaled(0x00FF00)}}

    refused = requests.post(f"{url}/runsync", json=body, timeout=100)
    answer = requests.post(f"{url}/runsync", json=body, headers=KEY, timeout=100).json()
    later = requests.get(f"{url}/status/{answer['id']}", headers=KEY, timeout=30).json()

    assert refused.status_code == 401
    assert answer["status"] == later["status"] == "COMPLETED"
    assert picture(answer["output"]["images"][0]).getpixel((0, 0)) == (0, 255, 0)


@pytest.mark.timeout(200)
def test_the_id_of_a_job_is_where_its_files_are_on_the_volume_and_stands_in_the_log(platform: ModalEmulator):
    url = platform.web_url("comfyport", "api")
    body = {"input": {"workflow": workflows.scaled(1), "output": {"delivery": "volume"}}}

    answer = requests.post(f"{url}/runsync", json=body, headers=KEY, timeout=100).json()

    [item] = answer["output"]["images"]
    assert item["data"].startswith(f"outputs/{answer['id']}/")
    assert (platform.volume_dir("comfyport-models") / item["data"]).stat().st_size == item["size"]
    assert f"job={answer['id']}" in platform.logs


@pytest.mark.timeout(200)
def test_a_recipe_runs_in_the_gpu_class_and_answers_as_everywhere(platform: ModalEmulator):
    url = platform.web_url("comfyport", "api")
    job = {"input": {"recipe": "square", "parameters": {"colour": 0x0000FF}}}

    refused = requests.post(f"{url}/recipes/square", json={"colour": -1}, headers=KEY, timeout=100)
    answer = requests.post(f"{url}/recipes/square", json={"colour": 0x0000FF}, headers=KEY, timeout=100)
    same = requests.post(f"{url}/runsync", json=job, headers=KEY, timeout=100).json()

    assert (refused.status_code, refused.json()["error_code"]) == (400, "invalid_parameters")
    assert answer.status_code == 200, answer.text
    assert picture({"data": answer.json()["file"]}).getpixel((0, 0)) == (0, 0, 255)
    assert same["output"]["file"] == answer.json()["file"]


@pytest.mark.timeout(200)
def test_a_failed_job_and_an_unknown_one_are_told_apart(platform: ModalEmulator):
    url = platform.web_url("comfyport", "api")
    body = {"input": {"workflow": {"1": workflows.node("NoSuchNode")}}}

    failed = requests.post(f"{url}/runsync", json=body, headers=KEY, timeout=100).json()
    unknown = requests.get(f"{url}/status/fc-none", headers=KEY, timeout=30)

    assert (failed["status"], failed["output"]["error_code"]) == ("FAILED", "workflow_rejected")
    assert unknown.status_code == 404


OTHER_ENDS = """
import asyncio
import modal

app = modal.App("ends")

@app.function()
def be_lost() -> None:
    raise modal.exception.InternalFailure("preempted")

@app.function(timeout=1)
async def dawdle() -> None:
    await asyncio.sleep(60)

@app.function()
async def wait() -> None:
    print("it waits")
    await asyncio.sleep(60)
"""


@pytest.fixture(scope="module")
def ends(platform: ModalEmulator, tmp_path_factory: pytest.TempPathFactory) -> ModalEmulator:
    """An app beside ours whose calls end in other ways than with an answer."""
    entry = tmp_path_factory.mktemp("ends") / "ends.py"
    entry.write_text(OTHER_ENDS)
    deployed = modal_client(platform, "-m", "modal", "deploy", str(entry))
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    return platform


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("function", "told"), [("be_lost", ["FAILED", "worker_stopped"]), ("dawdle", ["TIMED_OUT", "worker_stopped"])]
)
def test_a_job_whose_container_ends_is_told_so(ends: ModalEmulator, function: str, told: list[str]):
    assert outcome(ends, function) == told


@pytest.mark.timeout(200)
def test_a_cancelled_job_stays_cancelled(ends: ModalEmulator):
    assert outcome(ends, "wait", cancelled_once="it waits") == ["CANCELLED", None]


def outcome(platform: ModalEmulator, function: str, cancelled_once: str = "") -> list[str | None]:
    """Status and error code of a job, as `comfyport run` and the HTTP face tell them."""
    spawn = f"import modal; print(modal.Function.from_name('ends', '{function}').spawn().object_id)"
    call_id = printed(modal_client(platform, "-c", spawn))
    if cancelled_once:
        while cancelled_once not in platform.logs:
            time.sleep(0.05)
        modal_client(platform, "-c", f"import modal; modal.FunctionCall.from_id({call_id!r}).cancel()")
    ask = (
        "import asyncio, json; from comfyport.serve.modal_service.calls import outcome\n"
        f"ended = asyncio.run(outcome({call_id!r}, 60))\n"
        "print(json.dumps([ended.status, (ended.answer or {}).get('error_code')]))"
    )
    told: list[str | None] = json.loads(printed(modal_client(platform, "-c", ask)))
    return told


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.timeout(200)
def test_comfyport_run_sends_a_job_to_the_app_itself(platform: ModalEmulator, tmp_path: Path):
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(workflows.scaled(2)))

    done = modal_client(platform, "-m", "comfyport", "run", str(file), "-e", "modal:comfyport", "-o", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_asking_modal_about_a_job_loads_no_web_framework():
    loaded = "import sys, comfyport.serve.modal_service.calls; sys.exit('fastapi' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_health_tells_the_calls_that_wait(platform: ModalEmulator):
    health = requests.get(platform.web_url("comfyport", "api") + "/health", timeout=60).json()

    assert health["jobs"] == {"inQueue": 0, "inProgress": 0}


def test_a_deploy_without_the_secret_is_refused():
    with ModalEmulator() as without:
        deployed = modal(without, "deploy")

    assert deployed.returncode != 0
    assert "comfyport" in deployed.stdout + deployed.stderr
