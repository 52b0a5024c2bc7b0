"""A GPU container starts from a memory snapshot of ComfyUI, which has no GPU before it is restored."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from emulators.modal import ModalEmulator
from tests.conftest import ROOT, picture, write_lock
from tests.serve.modal.deploying import client, deployed, image_environ, job

# Deploying and starting containers, on a machine that may be busy: only a hang takes so long.
pytestmark = pytest.mark.timeout(600)

SMALL = ROOT / "tests" / "comfyui" / "small"
# In the emulator's containers, the file whose appearance tells the runtime that it was restored.
DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 8ul << 30; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Small GPU", length); return 0; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the driver of a GPU, in small."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a driver's library with")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "cuda.c").write_text(DRIVER)
    command = [compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", folder / "cuda.c"]
    subprocess.run(command, check=True)
    return folder


def on_gpu(folder: Path, driver: Path, **more: str) -> dict[str, str]:
    """The image's environment on a machine with the GPU of `driver`, which ComfyUI sees once it is restored."""
    gpu = {"COMFYPORT_DEVICE": "gpu", "LD_LIBRARY_PATH": str(driver), "COMFYUI_DIR": str(SMALL)}
    return image_environ(folder, **gpu, **more)


def test_comfyui_is_up_before_the_snapshot_and_has_its_gpu_after_it(driver: Path, tmp_path: Path):
    with deployed(on_gpu(tmp_path, driver), COMFYPORT_MODAL_SNAPSHOT="true") as platform:
        answer = job(platform)
        calls, logs = platform.calls, platform.logs
        reloads = [call.action for call in platform.volume_calls]

    assert picture(answer["images"][0]).size
    assert logs.index("started with available=True") < logs.index("waits for its GPU") < logs.index("GPU: Small GPU")
    assert "ContainerCheckpoint" in calls
    assert calls.index("ContainerCheckpoint") < calls.index("VolumeReload")
    assert reloads[0] == "reload"
    assert logs.count("To see the GUI go to") == 1


def test_nothing_leads_out_of_the_container_while_the_snapshot_is_taken(driver: Path, tmp_path: Path):
    with HubEmulator({"owner/name": Repo({"a.safetensors": b"a model"})}) as hub:
        image = on_gpu(tmp_path, driver, HF_ENDPOINT=hub.url, STARTUP_WAIT="all")
        source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.safetensors"}
        entry = {"directory": "checkpoints", "name": "a.safetensors", "sources": [source]}
        write_lock(tmp_path / "models.lock.json", entry | {"sha256": hashlib.sha256(b"a model").hexdigest()})
        with deployed(image, COMFYPORT_MODAL_SNAPSHOT="true") as platform:
            job(platform)
            downloaded = platform.volume_dir("comfyport-models") / "models" / "checkpoints" / "a.safetensors"

            assert downloaded.read_bytes() == b"a model"
            assert [checkpoint.connected_to for checkpoint in platform.checkpoints] == [[]]


def test_a_comfyui_that_dies_after_the_restore_comes_back_with_the_gpu(driver: Path, tmp_path: Path):
    image = on_gpu(tmp_path, driver, COMFYUI_ARGS="--fault crash_during=1")
    with deployed(image, COMFYPORT_MODAL_SNAPSHOT="true") as platform:
        job(platform)
        logs = platform.logs

    assert logs.count("To see the GUI go to") >= 2
    assert logs.count("waits for its GPU") == 1


def test_a_comfyui_that_cannot_be_deferred_fails_the_start_and_says_what_to_do(driver: Path, tmp_path: Path):
    image = on_gpu(tmp_path, driver, CHANGED="device")
    with deployed(image, COMFYPORT_MODAL_SNAPSHOT="true") as platform:
        code = "import modal; modal.Cls.from_name('comfyport', 'ComfyUI')().run.remote({'input': {}})"
        failed = client(platform, "-c", code)
        calls = platform.calls

    assert "get_torch_device() is cpu" in failed.stderr
    assert "COMFYPORT_MODAL_SNAPSHOT=false" in failed.stderr
    assert "ContainerCheckpoint" not in calls


def test_on_a_machine_without_gpu_a_snapshot_needs_no_deferring(tmp_path: Path):
    with deployed(image_environ(tmp_path), COMFYPORT_MODAL_SNAPSHOT="true") as platform:
        answer = job(platform)

    assert answer["images"]


def test_comfyui_ends_with_its_container_wherever_in_its_start_that_is(driver: Path, tmp_path: Path):
    image = on_gpu(tmp_path, driver)
    with deployed(image, COMFYPORT_MODAL_SNAPSHOT="true") as platform:
        job(platform)
        stopped(platform)

        assert all(container["exit_code"] == 0 for container in platform.containers)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{image['COMFYUI_PORT']}", timeout=5)


def stopped(platform: ModalEmulator) -> None:
    done = client(platform, "-m", "modal", "app", "stop", "--yes", "comfyport")
    assert done.returncode == 0, done.stderr
