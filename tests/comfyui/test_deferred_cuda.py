"""ComfyUI starts where there is no GPU as if there were one, and gets it later; what does not fit is told."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from comfyport.comfyui import deferred_cuda
from comfyport.comfyui.attach import Deferred
from comfyport.errors import SnapshotFailed
from tests.conftest import Container, free_port

SMALL = Path(__file__).with_name("small") / "main.py"
UP = "To see the GUI go to"
Start = Callable[..., Container]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def gpu(tmp_path: Path) -> Path:
    """The file that stands for a GPU, and is not there yet."""
    return tmp_path / "gpu"


def comfyui(start: Start, port: int, gpu: Path, **environ: str) -> Container:
    launch = Deferred(port).launch
    running = start(sys.executable, *launch.through, SMALL, f"--port={port}", GPU_FILE=str(gpu), **environ)
    running.read_until(UP)
    return running


def test_it_starts_as_with_a_gpu_and_has_it_once_it_is_attached(start: Start, port: int, gpu: Path):
    running = comfyui(start, port, gpu)
    asyncio.run(Deferred(port).rehearse())
    gpu.touch()

    name = asyncio.run(Deferred(port).attach())
    running.end(signal.SIGTERM)

    assert name == "Small GPU"
    assert "started with available=True" in running.output
    assert "ended with available=True vram=8192.0" in running.output


def test_without_being_deferred_it_would_never_find_the_gpu(start: Start, port: int, gpu: Path):
    running = start(sys.executable, SMALL, f"--port={port}", GPU_FILE=str(gpu))

    assert running.end() != 0
    assert "No CUDA GPUs are available" in running.output


def test_a_gpu_that_is_not_there_is_told_in_the_words_of_torch(start: Start, port: int, gpu: Path):
    comfyui(start, port, gpu)

    with pytest.raises(SnapshotFailed, match=r"No CUDA GPUs are available.*COMFYPORT_MODAL_SNAPSHOT=false"):
        asyncio.run(Deferred(port).attach())


def test_who_wanted_the_gpu_itself_too_early_is_named(
    start: Start, port: int, gpu: Path, caplog: pytest.LogCaptureFixture
):
    running = comfyui(start, port, gpu)

    asyncio.run(Deferred(port).rehearse())

    assert f"{SMALL}:" in caplog.text
    assert "a node decides: No CUDA GPUs are available: ComfyUI starts for a memory snapshot" in running.output


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("device", r"get_torch_device\(\) is cpu, not cuda:0"),
        ("name", "total_vram"),
        ("counts", "it keeps the GPU's memory in reserved_vram too"),
    ],
)
def test_a_comfyui_that_decides_otherwise_than_known_is_refused_before_it_is_snapshotted(
    start: Start, port: int, gpu: Path, changed: str, told: str
):
    comfyui(start, port, gpu, CHANGED=changed)

    with pytest.raises(SnapshotFailed, match=told):
        asyncio.run(Deferred(port).rehearse())


def test_a_comfyui_that_does_not_answer_is_told(port: int):
    with pytest.raises(SnapshotFailed, match="does not answer"):
        asyncio.run(Deferred(port).attach())


def test_what_was_random_in_a_snapshot_is_renewed():
    random.seed(1)
    kept = random.getstate()

    deferred_cuda.seed_anew(SimpleNamespace(seed=lambda: None))

    assert random.getstate() != kept


def real_comfyui_without_gpu() -> Path | None:
    """The real ComfyUI, if there is one whose torch is made for CUDA on this machine without it."""
    folder = Path(os.environ.get("COMFYUI_DIR", "/none"))
    python = next((path for name in (".venv", "venv") if (path := folder / name / "bin" / "python").exists()), None)
    if python is None:
        return None
    asked = "import torch; print(torch.version.cuda is not None and not torch.cuda.is_available())"
    said = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False).stdout
    return python if said.strip() == "True" else None


@pytest.mark.timeout(200)
def test_the_real_comfyui_starts_as_with_a_gpu_where_there_is_none(start: Start, port: int, tmp_path: Path):
    python = real_comfyui_without_gpu()
    if python is None:
        pytest.skip("COMFYUI_DIR names no ComfyUI with a torch for CUDA, or there is a GPU")
    main = Path(os.environ["COMFYUI_DIR"]) / "main.py"
    for name in ("custom_nodes", "user"):
        (tmp_path / "base" / name).mkdir(parents=True)
    base = f"--base-directory={tmp_path / 'base'}"
    running = start(python, *Deferred(port).launch.through, main, f"--port={port}", base, "--disable-api-nodes")
    running.read_until(UP)

    asyncio.run(Deferred(port).rehearse())
    with pytest.raises(SnapshotFailed, match="NVIDIA"):
        asyncio.run(Deferred(port).attach())

    assert "Set vram state to: NORMAL_VRAM" in running.output
    assert "Device: cuda:0" in running.output
    assert "Using pytorch attention" in running.output
