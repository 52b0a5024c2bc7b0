"""The image, built once for all tests, and containers of it under podman.

Without more, it is the image's base: everything but torch and ComfyUI, with ComfyUI's emulator in its place. With
COMFYUI_REPOSITORY, the path or address of a ComfyUI repository, the tests run on the whole CPU image as well, or on
what IMAGE_VARIANTS names: cpu, gpu, or both with a comma. The image for GPUs works on CPU too, when it is told to.
"""

import fcntl
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bench import containers
from tests.conftest import Container, free_port

BUILD_SECONDS = 1800

# What a careful host gives a container: no root, no rights, nothing to write on but /tmp and the volume.
HARDENED = (
    "--user=1000:1000",
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


def variants() -> list[str]:
    """The images to test: the emulated one, and others if there is a ComfyUI to build them from."""
    others = os.environ.get("IMAGE_VARIANTS", "cpu").split(",")
    return ["emulated", *(others if os.environ.get("COMFYUI_REPOSITORY") else [])]


@pytest.fixture(scope="session", params=variants())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image, built in this run of the tests: in CI from nothing, elsewhere from what has changed."""
    try:
        containers.require()
    except containers.NoContainersError as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    tag = f"localhost/comfyport-tests:{request.param}"
    shared = (
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    )
    done = shared / f"image-{request.param}"
    with (shared / "image.lock").open("w") as lock:
        # The workers of one run share the image; the first one builds it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            build(tag, request.param)
            done.touch()
    return tag


def build(tag: str, variant: str, *, context: Path = containers.ROOT, cached: bool = "CI" not in os.environ) -> None:
    """Builds a variant from the files of `context`; fails with the end of the build's output."""
    comfyui = os.environ.get("COMFYUI_REPOSITORY", "")
    command = containers.build_command(
        tag, containers.VARIANTS[variant], context=context, comfyui=comfyui, cached=cached
    )
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
    if done.returncode:
        pytest.fail(f"the image could not be built:\n{done.stdout[-6000:]}")


class Service(Container):
    """A running container: `url` is where its HTTP door listens."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        super().__init__(process)
        self.url = url


@pytest.fixture
def start(image: str, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a container on CPU, with this test's volume unless `options` mount one; it is removed at the end."""
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o777)
    volume.chmod(0o777)
    with ExitStack() as stack:

        def start_container(*command: str, options: tuple[str, ...] = (), **environ: str) -> Service:
            port = free_port()
            defaults = {
                "COMFYPORT_DEVICE": "cpu",
                "COMFYUI_PORT": str(free_port()),
                "HOST": "127.0.0.1",
                "PORT": str(port),
            }
            given = tuple(f"--env={name}={value}" for name, value in (defaults | environ).items())
            mount = () if any(":/data" in option for option in options) else (f"--volume={volume}:/data",)
            line = containers.run_command(image, *command, options=(*mount, *given, *options))
            return Service(stack.enter_context(_running(line)), f"http://127.0.0.1:{port}")

        yield start_container


@contextmanager
def _running(line: list[str]) -> Iterator["subprocess.Popen[str]"]:
    name = f"comfyport-test-{uuid.uuid4().hex}"
    at = line.index("run") + 1
    process = subprocess.Popen(
        [*line[:at], f"--name={name}", *line[at:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        subprocess.run([*containers.PODMAN, "rm", "--force", "--ignore", "--time=0", name], capture_output=True)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def volume_name() -> Iterator[str]:
    """A name for a volume that podman makes when a container mounts it; the volume is removed at the end."""
    name = f"comfyport-test-{uuid.uuid4().hex}"
    yield name
    subprocess.run([*containers.PODMAN, "volume", "rm", "--force", name], capture_output=True, check=False)
