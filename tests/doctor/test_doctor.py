"""`comfyport doctor`: what it finds, what it advises, and what it never shows."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from comfyport.models.volume import Volume
from emulators.hub import HubEmulator, Repo
from tests.conftest import TINY_CHECKPOINT, container_environ, write_lock

TOKEN = "hf_known_to_the_hub"


class Examined:
    """What one run of the command has said."""

    def __init__(self, status: int, output: str, said: str) -> None:
        self.status = status
        self.output = output + said
        self.findings = json.loads(output)["findings"]

    def about(self, area: str, subject: str) -> dict[str, Any]:
        """The one finding on a subject."""
        (found,) = [each for each in self.findings if (each["area"], each["subject"]) == (area, subject)]
        return dict(found)


def examine(tmp_path: Path, **environ: str) -> Examined:
    done = subprocess.run(
        [sys.executable, "-m", "comfyport", "doctor", "--json"],
        env=container_environ(tmp_path, **environ),
        capture_output=True,
        text=True,
        check=False,
    )
    return Examined(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator({"owner/one": Repo({"a.safetensors": TINY_CHECKPOINT})}, tokens=[TOKEN]) as emulator:
        yield emulator


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A folder that looks like ComfyUI, with a Python that has a torch for CUDA 13."""
    folder = tmp_path / "ComfyUI"
    packages = folder / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (packages / "torch").mkdir(parents=True)
    (packages / "torch" / "__init__.py").write_text("raise RuntimeError('this takes seconds')")
    (packages / "torch" / "version.py").write_text("__version__ = '2.11.0+cu130'\ncuda = '13.0'\n")
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    (folder / "comfy").mkdir()
    (folder / "comfy" / "cli_args.py").write_text('parser.add_argument("--lowvram", action="store_true")\n')
    return folder


def model(**fields: Any) -> dict[str, Any]:
    source = {"type": "huggingface", "repo": "owner/one", "revision": "main", "file": "a.safetensors"}
    return {"directory": "checkpoints", "name": "a.safetensors", "sources": [source], **fields}


def test_a_machine_with_all_it_needs_has_no_problem(tmp_path: Path, hub: HubEmulator, comfyui: Path):
    urls = {"HF_ENDPOINT": hub.url, "CIVITAI_ENDPOINT": hub.url}

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), HF_TOKEN=TOKEN, CIVITAI_TOKEN=TOKEN, **urls)

    assert seen.status == 0, seen.output
    assert seen.about("tokens", "HF_TOKEN")["found"] == f"accepted by {hub.url.removeprefix('http://')}"
    assert seen.about("tokens", "CIVITAI_TOKEN")["state"] == "ok"
    assert seen.about("comfyui", "version")["found"].startswith("0.3.64, in ")
    assert "2.11.0+cu130, built for CUDA 13.0" in seen.about("gpu", "torch")["found"]


def test_models_that_are_still_to_come_are_work_and_no_problem(tmp_path: Path, comfyui: Path):
    write_lock(tmp_path / "models.lock.json", model(size=2_000_000_000))

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui))

    assert seen.status == 3
    shelf = seen.about("models", "checkpoints")
    assert shelf["state"] == "work"
    assert shelf["found"] == "0 of 1 there, 2.0 GB in all; a.safetensors (missing)"
    assert "comfyport models sync" in shelf["fix"]


def test_models_that_no_start_fetches_are_a_problem(tmp_path: Path, comfyui: Path):
    write_lock(tmp_path / "models.lock.json", model())

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), DOWNLOAD_MODELS_ON_STARTUP="false")

    assert seen.status == 1
    assert seen.about("models", "checkpoints")["state"] == "problem"


def test_more_to_fetch_than_is_free_is_a_problem(tmp_path: Path, comfyui: Path):
    write_lock(tmp_path / "models.lock.json", model(size=10**16))

    space = examine(tmp_path, COMFYUI_DIR=str(comfyui)).about("disk", "space")

    assert space["state"] == "problem"
    assert "10000000.0 GB to fetch" in space["found"]


def test_on_modal_what_the_disk_says_is_free_is_not_believed(tmp_path: Path, comfyui: Path):
    write_lock(tmp_path / "models.lock.json", model(size=10**16))

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), MODAL_TASK_ID="ta-1")

    assert seen.about("disk", "space")["state"] == "ok"


def test_a_token_that_is_refused_is_a_problem_and_is_not_shown(tmp_path: Path, hub: HubEmulator, comfyui: Path):
    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), HF_TOKEN="hf_of_yesterday", HF_ENDPOINT=hub.url)

    assert seen.status == 1
    assert seen.about("tokens", "HF_TOKEN")["state"] == "problem"
    assert "hf_of_yesterday" not in seen.output


def test_a_token_that_no_header_can_carry_is_a_problem_and_is_not_shown(tmp_path: Path, comfyui: Path):
    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), HF_TOKEN="hf_two\nlines", HF_ENDPOINT="http://127.0.0.1:9")

    assert "a token has no spaces" in seen.about("tokens", "HF_TOKEN")["found"]
    assert "hf_two" not in seen.output


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path, comfyui: Path):
    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), HF_TOKEN=TOKEN, HF_ENDPOINT="http://127.0.0.1:9")

    told = seen.about("tokens", "HF_TOKEN")
    assert told["state"] == "note"
    assert "127.0.0.1:9 cannot be reached" in told["found"]
    assert TOKEN not in seen.output


def test_a_variable_that_a_source_needs_is_missed(tmp_path: Path, comfyui: Path):
    source = {"type": "url", "url": "https://example.com/a.safetensors", "auth": "env:MY_TOKEN"}
    write_lock(tmp_path / "models.lock.json", model(sources=[source]))

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui))

    assert seen.about("tokens", "MY_TOKEN")["state"] == "problem"


def test_a_lock_that_cannot_be_read_stops_nothing_else(tmp_path: Path, comfyui: Path):
    (tmp_path / "models.lock.json").write_text("{")

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui))

    assert seen.status == 1
    assert "models.lock.json" in seen.about("models", "invalid_lock")["found"]
    assert seen.about("comfyui", "version")["state"] == "ok"


def test_models_that_the_lock_no_longer_names_are_told(tmp_path: Path, comfyui: Path):
    volume = Volume(tmp_path / "volume")
    volume.prepare()
    volume.file("loras").mkdir()
    volume.file("loras/old.safetensors").write_bytes(TINY_CHECKPOINT)
    volume.write_receipt("loras/old.safetensors", sha256="0" * 64, source="somewhere")

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui))

    assert seen.about("models", "orphans")["found"] == "1 that the lock no longer names: loras/old.safetensors"


def test_a_volume_that_cannot_be_written_is_a_problem(tmp_path: Path, comfyui: Path):
    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), COMFYPORT_VOLUME="/proc/1/volume")

    assert seen.about("disk", "writable")["state"] == "problem"
    assert seen.status == 1


def test_a_node_of_a_persons_own_that_lacks_a_package_is_named(tmp_path: Path, comfyui: Path):
    own = tmp_path / "volume" / "custom_nodes" / "my-node"
    own.mkdir(parents=True)
    (own / "requirements.txt").write_text("no-such-package>=1\ntorch\nonly-there; sys_platform == 'win32'\n")
    packages = next((comfyui / ".venv" / "lib").iterdir()) / "site-packages"
    (packages / "torch-2.11.0.dist-info").mkdir()

    told = examine(tmp_path, COMFYUI_DIR=str(comfyui)).about("nodes", "my-node")

    assert told["state"] == "problem"
    assert told["found"].endswith("not in the lock; lacks no-such-package")
    assert "comfyport nodes add" in told["fix"]


def test_a_node_that_is_still_to_come_is_work(tmp_path: Path, comfyui: Path):
    source = {"type": "git", "url": "https://example.com/a", "commit": "0" * 40}
    lock = {"version": 1, "nodes": [{"name": "a", "source": source}]}
    (tmp_path / "nodes.lock.json").write_text(json.dumps(lock))

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui))

    assert seen.about("nodes", "a")["state"] == "work"
    assert seen.status == 3


def test_a_flag_that_this_comfyui_does_not_know_is_a_problem(tmp_path: Path, comfyui: Path):
    known = examine(tmp_path, COMFYUI_DIR=str(comfyui), COMFYUI_ARGS="--lowvram")
    unknown = examine(tmp_path, COMFYUI_DIR=str(comfyui), COMFYUI_ARGS="--lowvram --hivram")

    assert known.about("comfyui", "flags")["state"] == "ok"
    assert unknown.about("comfyui", "flags")["found"] == "this ComfyUI has no --hivram"
    assert unknown.status == 1


def test_a_missing_comfyui_is_told_with_what_to_set(tmp_path: Path):
    seen = examine(tmp_path, COMFYUI_DIR=str(tmp_path / "nowhere"))

    assert "COMFYUI_DIR" in seen.about("comfyui", "comfyui_missing")["found"]


def test_a_port_that_another_program_holds_is_a_problem(tmp_path: Path, comfyui: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(30)
        port = other.getsockname()[1]
        hanging_up = threading.Thread(target=lambda: other.accept()[0].close())
        hanging_up.start()
        told = examine(tmp_path, COMFYUI_DIR=str(comfyui), PORT=str(port)).about("comfyui", f"port {port}")
        hanging_up.join()

    assert told["state"] == "problem"


def test_a_port_that_a_worker_holds_is_right(tmp_path: Path, comfyui: Path):
    class Stats(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"system": {"comfyui_version": "0.3.64"}}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stats) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        port = str(server.server_port)
        told = examine(tmp_path, COMFYUI_DIR=str(comfyui), COMFYUI_PORT=port).about("comfyui", f"port {port}")
        server.shutdown()
        serving.join()

    assert told["found"] == "ComfyUI 0.3.64 answers (a worker runs here)"


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """The folder of a driver's library that has one GPU of 24 GiB and serves CUDA 12.8."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler to make a driver with")
    code = """
    #include <string.h>
    int cuInit(unsigned flags) { return 0; }
    int cuDeviceGetCount(int *count) { *count = 1; return 0; }
    int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "NVIDIA L4", size); return 0; }
    int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 24UL << 30; return 0; }
    int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
    """
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "cuda.c").write_text(code)
    library = folder / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, folder / "cuda.c"], check=True)
    return folder


def test_a_driver_that_is_too_old_for_torch_is_a_problem(tmp_path: Path, comfyui: Path, driver: Path):
    gpu = {"COMFYPORT_DEVICE": "gpu", "LD_LIBRARY_PATH": str(driver)}

    seen = examine(tmp_path, COMFYUI_DIR=str(comfyui), **gpu)

    assert seen.about("gpu", "device 0")["found"] == "NVIDIA L4, 24 GiB"
    told = seen.about("gpu", "driver")
    assert told["state"] == "problem"
    assert told["found"].endswith("for CUDA 12.8 and older; torch needs CUDA 13.0")


def test_a_driver_serves_newer_minor_versions_of_its_cuda(tmp_path: Path, comfyui: Path, driver: Path):
    version = next(comfyui.rglob("torch/version.py"))
    version.write_text("__version__ = '2.10.0+cu129'\ncuda = '12.9'\n")
    gpu = {"COMFYPORT_DEVICE": "gpu", "LD_LIBRARY_PATH": str(driver)}

    assert examine(tmp_path, COMFYUI_DIR=str(comfyui), **gpu).about("gpu", "driver")["state"] == "ok"


def test_a_machine_without_a_gpu_is_told_how_to_go_on(tmp_path: Path, comfyui: Path):
    told = examine(tmp_path, COMFYUI_DIR=str(comfyui), COMFYPORT_DEVICE="gpu").about("gpu", "device")

    assert told["state"] == "problem"
    assert "COMFYPORT_DEVICE=cpu" in told["fix"]


def test_a_person_reads_each_finding_with_what_to_do(tmp_path: Path, comfyui: Path):
    environ = container_environ(tmp_path, COMFYUI_DIR=str(comfyui), COMFYPORT_DEVICE="gpu", COLUMNS="100")
    done = subprocess.run(
        [sys.executable, "-m", "comfyport", "doctor"], env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "PROBLEM device: No usable NVIDIA GPU" in done.stdout
    assert "-> Start the container with a GPU" in done.stdout
    assert done.stdout.endswith("1 problem to mend.\n")
