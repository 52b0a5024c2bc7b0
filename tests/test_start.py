"""The start of a container: three parts side by side, honest ends, one clear message for what cannot be."""

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from tests.conftest import ROOT, Container, write_lock

START = ROOT / "src" / "start.sh"
DOWNLOAD = ROOT / "src" / "download-models.sh"
MODEL = b"a model" * 100_000

Start = Callable[..., Container]


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator({"owner/name": Repo({"a.safetensors": MODEL})}) as emulator:
        yield emulator


@pytest.fixture
def slow_hub() -> Iterator[HubEmulator]:
    with HubEmulator({"owner/name": Repo({"a.safetensors": MODEL})}, rate=50_000) as emulator:
        yield emulator


def model(**fields: Any) -> dict[str, Any]:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.safetensors"}
    pinned = {"size": len(MODEL), "sha256": hashlib.sha256(MODEL).hexdigest()}
    return {"directory": "checkpoints", "name": "a.safetensors", "sources": [source], **pinned, **fields}


def alive_with(mark: str) -> list[int]:
    """The living processes that have COMFYPORT_TEST=`mark` in their environment, inherited or not."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            environ = (folder / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if stat[0] != "Z" and f"COMFYPORT_TEST={mark}".encode() in environ.split(b"\0"):
            found.append(int(folder.name))
    return found


def test_arguments_replace_the_worker(start: Start):
    container = start(START, "sh", "-c", "echo hello; exit 7")

    assert container.end() == 7
    assert container.output == "hello\n"


def test_models_and_comfyui_start_side_by_side(start: Start, hub: HubEmulator, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())

    container = start(START, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)
    container.read_until("ComfyUI is ready", "models: 1 of 1 ready")

    assert container.end(signal.SIGTERM) == 0
    assert (tmp_path / "volume/models/checkpoints/a.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_all_parts_during_a_download(
    start: Start, slow_hub: HubEmulator, tmp_path: Path, number: int
):
    lock = write_lock(tmp_path / "lock.json", model())
    mark = str(time.monotonic_ns())
    container = start(START, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=slow_hub.url, COMFYPORT_TEST=mark)
    container.read_until("ComfyUI is ready")

    status = container.end(number)

    assert status == 0
    assert alive_with(mark) == []
    assert not (tmp_path / "volume/models/checkpoints/a.safetensors").exists()


def test_nothing_outlives_a_worker_that_is_killed(start: Start, slow_hub: HubEmulator, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())
    mark = str(time.monotonic_ns())
    environ = {"COMFYPORT_LOCK": str(lock), "HF_ENDPOINT": slow_hub.url, "COMFYPORT_TEST": mark, "PREFETCH": "off"}
    container = start(START, **environ)
    container.read_until("ComfyUI is ready")
    assert len(alive_with(mark)) == 3

    container.end(signal.SIGKILL)

    assert alive_with(mark) == []


def test_the_download_step_alone_ends_with_the_signals_status(start: Start, slow_hub: HubEmulator, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())
    container = start(DOWNLOAD, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=slow_hub.url)
    parts = tmp_path / "volume/.comfyport/parts"
    while not (parts.is_dir() and any(parts.glob("*/journal"))):
        assert container.process.poll() is None

    assert container.end(signal.SIGTERM) == 143


def test_the_download_step_alone_prints_one_document(start: Start, hub: HubEmulator, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())

    first = start(DOWNLOAD, "--json", COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)
    second = start(DOWNLOAD, "--json", COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url) if first.end() == 0 else first

    assert second.end() == 0
    document = json.loads(second.output.splitlines()[-1])
    assert document["ok"] is True
    assert document["bytes_downloaded"] == 0
    assert [(file["path"], file["state"]) for file in document["models"]] == [("checkpoints/a.safetensors", "ready")]


def test_without_the_download_the_lock_is_not_even_read(start: Start):
    container = start(START, DOWNLOAD_MODELS_ON_STARTUP="no", COMFYPORT_LOCK="/nowhere")

    container.read_until("ComfyUI is ready")

    assert container.end(signal.SIGTERM) == 0


def test_a_second_start_downloads_nothing(start: Start, hub: HubEmulator, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model())
    for _ in range(2):
        container = start(START, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)
        container.read_until("ComfyUI is ready", "models: 1 of 1 ready")
        container.end(signal.SIGTERM)

    assert sum(request.bytes_sent for request in hub.requests) <= len(MODEL) + 1


def refused(container: Container, status: int, *words: str) -> None:
    """The program ended with `status` and one message that has these words, and no traceback."""
    assert container.end(within=30) == status, container.output
    assert "Traceback" not in container.output
    for word in words:
        assert word in container.output


@pytest.mark.parametrize("program", [START, DOWNLOAD])
def test_a_broken_lock_ends_the_start_with_what_is_wrong(start: Start, tmp_path: Path, program: Path):
    lock = write_lock(tmp_path / "lock.json", model(sha256="short"))

    refused(start(program, COMFYPORT_LOCK=str(lock)), 2, "models[0] (a.safetensors): sha256", str(lock))


@pytest.mark.parametrize("program", [START, DOWNLOAD])
def test_an_unknown_group_ends_the_start_with_the_known_ones(start: Start, tmp_path: Path, program: Path):
    lock = write_lock(tmp_path / "lock.json", model(groups=["flux"]))

    refused(start(program, COMFYPORT_LOCK=str(lock), MODEL_GROUPS="flx"), 2, "'flx'", "flux", "MODEL_GROUPS")


@pytest.mark.parametrize("program", [START, DOWNLOAD])
def test_no_room_for_the_models_ends_the_start_with_the_numbers(start: Start, tmp_path: Path, program: Path):
    lock = write_lock(tmp_path / "lock.json", model(size=10**18))

    refused(start(program, COMFYPORT_LOCK=str(lock)), 1, "1000000000.07 GB", "are free", "MODEL_GROUPS")


@pytest.mark.parametrize("setting", ["PORT", "COMFYUI_PORT"])
def test_a_port_in_use_ends_the_start_with_the_setting_to_change(start: Start, setting: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused(start(START, **{setting: str(taken.getsockname()[1])}), 1, "is taken", f"set {setting} to a free port")


def test_a_missing_comfyui_ends_the_start_with_where_it_was_looked_for(start: Start):
    refused(start(START, COMFYUI_DIR="/nowhere"), 1, "no ComfyUI in /nowhere", "COMFYUI_DIR")


def test_a_missing_gpu_ends_the_start_with_what_to_do(start: Start):
    refused(start(START, COMFYPORT_DEVICE="gpu"), 1, "--gpus all", "COMFYPORT_DEVICE=cpu")


def test_a_comfyui_that_cannot_start_ends_the_start_with_its_last_lines(start: Start, tmp_path: Path):
    (tmp_path / "main.py").write_text("raise SystemExit('no module named torch')")

    refused(start(START, COMFYUI_DIR=str(tmp_path)), 1, "no module named torch")


def test_a_setting_that_cannot_be_used_ends_the_start(start: Start):
    refused(start(START, DOWNLOAD_MODELS_ON_STARTUP="perhaps"), 2, "DOWNLOAD_MODELS_ON_STARTUP", "true or false")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a read-only file system")
def test_a_volume_that_cannot_be_written_ends_the_start(start: Start, tmp_path: Path):
    refused(
        start(DOWNLOAD, COMFYPORT_LOCK=str(write_lock(tmp_path / "l.json", model())), COMFYPORT_VOLUME="/proc/volume"),
        1,
        "/proc/volume cannot be used",
        "COMFYPORT_VOLUME",
    )
