"""Builds the image and runs containers of it with buildah and podman, which need no daemon and no registry.

`scripts/setup-containers.sh` makes a machine ready for it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE = "docker.io/library/debian:trixie-slim"
# Where the host's certificates are mounted while the image is built.
CERTIFICATES = "/run/host-certificates.crt"
REPOSITORY = "/run/comfyui.git"

PODMAN = ("podman", "--runtime", "runc")
# The build arguments of each image; `emulated` has ComfyUI's emulator in the place of ComfyUI and torch.
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "emulated": {"TORCH": "none", "COMFYUI_VERSION": "emulated"},
    "cpu": {"TORCH": "cpu"},
    "gpu": {},
}


class NoContainersError(Exception):
    """This machine cannot build or run the image; the message says why."""


def require() -> None:
    """Raises NoContainersError unless a container of the base image runs here."""
    missing = [tool for tool in ("buildah", "podman", "runc") if shutil.which(tool) is None]
    if missing:
        raise NoContainersError(f"{', '.join(missing)} not installed; scripts/setup-containers.sh does it")
    if output("podman", "images", "--quiet", BASE) == "":
        raise NoContainersError(f"{BASE} is not here; scripts/setup-containers.sh makes it")
    tried = subprocess.run(run_command(BASE, "true"), capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NoContainersError(f"a container cannot run here: {tried.stderr.strip()[-300:]}")


def build_command(
    tag: str, arguments: Mapping[str, str], *, context: Path = ROOT, comfyui: str = "", cached: bool = True
) -> list[str]:
    """The command that builds the image as `tag`; `comfyui` is the path or address of a repository of ComfyUI."""
    with_arguments = _from_host() | dict(arguments)
    volumes = []
    if certificates := os.environ.get("SSL_CERT_FILE"):
        volumes.append(f"{Path(certificates).resolve()}:{CERTIFICATES}:ro")
    if comfyui and Path(comfyui).is_dir():
        volumes.append(f"{Path(comfyui).resolve()}:{REPOSITORY}:ro")
        with_arguments["COMFYUI_REPOSITORY"] = f"file://{REPOSITORY}"
    elif comfyui:
        with_arguments["COMFYUI_REPOSITORY"] = comfyui
    return [
        *("buildah", "build", "--pull-never", "--isolation=chroot", "--network=host", f"--tag={tag}"),
        *(("--layers",) if cached else ("--layers", "--no-cache")),
        *(f"--volume={volume}" for volume in volumes),
        *(f"--build-arg={name}={value}" for name, value in with_arguments.items()),
        *(f"--file={context / 'Dockerfile'}", str(context)),
    ]


def run_command(image: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    """The command that runs a container in the foreground on the host's network and removes it when it ends."""
    # runc may not raise the limits that podman would set by default.
    limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
    return [*PODMAN, "run", "--rm", "--network=host", "--pull=never", *limits, *options, image, *command]


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The image's files, for as long as this is entered."""
    folder = output("podman", "image", "mount", image)
    try:
        yield Path(folder)
    finally:
        output("podman", "image", "unmount", image)


def output(*command: str) -> str:
    """What a command writes to stdout. Raises CalledProcessError."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _from_host() -> dict[str, str]:
    """Build arguments for what the host's pip is told: its certificates and its index, if it has its own."""
    arguments: dict[str, str] = {}
    if os.environ.get("SSL_CERT_FILE"):
        arguments |= {"SSL_CERT_FILE": CERTIFICATES, "PIP_CERT": CERTIFICATES, "GIT_SSL_CAINFO": CERTIFICATES}
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if index := os.environ.get("PIP_INDEX_URL") or asked.stdout.strip():
        arguments |= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index}
    return arguments
