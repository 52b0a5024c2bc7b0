"""What several rooms' tests share: a volume, ComfyUI installations to run against, a process in a container's place."""

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from PIL import Image

from comfyport.models.lock import Entry
from comfyport.models.volume import Volume
from comfyport.serve.host import Host
from comfyport.settings import Settings
from emulators.hub import weights
from emulators.runpod import RunPodEmulator
from emulators.server import free_port as free_port

# The same examples each time, and no time limit: other tests share the machine.
hypothesis.settings.register_profile("seeded", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("seeded")

ROOT = Path(__file__).parent.parent
EMULATOR = ROOT / "emulators" / "comfyui"
# A safetensors file without a tensor: the length of its header, and the header.
TINY_CHECKPOINT = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"


def installations() -> list[Any]:
    """The emulator, and the real ComfyUI that COMFYUI_DIR names, if it does."""
    named = os.environ.get("COMFYUI_DIR")
    return [pytest.param(EMULATOR, id="emulator"), *([pytest.param(Path(named), id="real")] if named else [])]


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    place = Volume(tmp_path / "volume")
    place.prepare()
    return place


def entry(directory: str = "checkpoints", name: str = "a.safetensors", **fields: Any) -> Entry:
    """An entry of a lock, with a source that no test reaches unless it says so."""
    sources = fields.pop("sources", [{"type": "url", "url": "http://127.0.0.1:9/a"}])
    return Entry.model_validate({"directory": directory, "name": name, "sources": sources, **fields})


def write_lock(file: Path, *models: dict[str, Any]) -> Path:
    """A models.lock.json with these entries."""
    file.write_text(json.dumps({"version": 1, "models": models}))
    return file


class Container:
    """A program in the place of a container: its output in one text, its end by signal or of itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.output = ""

    def read_until(self, *texts: str) -> None:
        """Reads the output until it has all of `texts`, in whatever order; fails if the program ends before."""
        assert self.process.stdout is not None
        while not all(text in self.output for text in texts):
            line = self.process.stdout.readline()
            if not line:
                pytest.fail(f"the program ended with {self.process.wait()} before it said {texts}:\n{self.output}")
            self.output += line

    def end(self, number: int | None = None, *, within: float = 10.0) -> int:
        """Sends a signal, if one is given, and waits; the exit status."""
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=within)
        self.output += rest
        return self.process.returncode


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """Starts a program with the environment of a container on CPU; what is left of it at the end is killed."""
    with ExitStack() as stack:

        def start_program(*command: str | Path, **environ: str) -> Container:
            return stack.enter_context(container(command, tmp_path, environ))

        yield start_program


@contextmanager
def container(command: tuple[str | Path, ...], tmp_path: Path, environ: dict[str, str]) -> Iterator[Container]:
    """A program with the environment of a container on CPU and folders below `tmp_path`; killed at the end."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env=container_environ(tmp_path, **environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Container(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def container_environ(tmp_path: Path, **more: str) -> dict[str, str]:
    """The environment of a container on CPU, with an empty lock, free ports and folders below `tmp_path`."""
    lock = tmp_path / "models.lock.json"
    if not lock.exists():
        write_lock(lock)
    defaults = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "COMFYUI_PORT": str(free_port()),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(lock),
        "COMFYPORT_RUN_DIR": str(tmp_path / "run"),
        "COMFYPORT_VOLUME": str(tmp_path / "volume"),
    }
    return defaults | more


@contextmanager
def running_host(folder: Path, comfyui: Path = EMULATOR, **environ: str) -> Iterator[Host]:
    """A worker in a thread, ready for jobs, with the environment of a container on CPU."""
    whole = container_environ(folder, COMFYUI_DIR=str(comfyui), **environ)
    host = Host(Settings.load(whole), whole)
    host.start()
    try:
        asyncio.run(asyncio.wait_for(host.wait_ready(), 60))
        yield host
    finally:
        host.stop()


@pytest.fixture(scope="session", params=installations())
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running worker on each ComfyUI, with the volume of `furnish`."""
    folder = tmp_path_factory.mktemp("worker")
    furnish(folder / "volume")
    with running_host(folder, request.param) as running:
        yield running


def furnish(volume: Path) -> None:
    """Makes a volume with upscalers, one in a folder, and files that are no models."""
    upscalers, checkpoints = (volume / "models" / name for name in ("upscale_models", "checkpoints"))
    for directory in (upscalers, checkpoints):
        directory.mkdir(parents=True)
    (upscalers / "quickstart-4x.safetensors").write_bytes(weights.upscaler())
    (upscalers / "broken.safetensors").write_bytes(b"not a model")
    (upscalers / "folder").mkdir()
    (upscalers / "folder" / "inside.safetensors").write_bytes(weights.upscaler())
    (checkpoints / "present.safetensors").touch()


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running worker on the emulator, for nodes that not every real ComfyUI has."""
    with running_host(tmp_path_factory.mktemp("worker")) as running:
        yield running


@pytest.fixture
def platform() -> Iterator[RunPodEmulator]:
    """The emulated RunPod, with an endpoint that has no worker yet."""
    with RunPodEmulator() as emulator:
        yield emulator


def run(host: Host, job_input: Any) -> dict[str, Any]:
    """The worker's answer to a job with this input."""
    return asyncio.run(host.run({"id": "job", "input": job_input}))


def picture(item: dict[str, Any]) -> Image.Image:
    """The picture in one item of an answer's `images`."""
    return Image.open(io.BytesIO(base64.b64decode(item["data"])))


def png(size: tuple[int, int], colour: tuple[int, int, int]) -> str:
    """A picture of one colour, as base64."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
