"""A checkout that a person works in, the app deployed from it to the emulated Modal, and a hub with models."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulators.hub import HubEmulator
from emulators.hub.shelves import CivitaiFile, CivitaiVersion, Repo
from emulators.hub.weights import StateDict
from emulators.modal import ModalEmulator
from tests.conftest import EMULATOR, ROOT, free_port, write_lock

BUILT_FROM = (
    *("Dockerfile", "LICENSE", "README.md", "pyproject.toml", "nodes.lock.json", "modal_entry.py"),
    *("image", "src", "emulators", "recipes", "scripts"),
)
SECRETS = {"COMFYPORT_API_KEY": "modal-key-8f3a", "HF_TOKEN": "hf_never_shown", "CIVITAI_TOKEN": "civitai_never_shown"}
VOLUME = "comfyport-models"
APP = "comfyport"


def weights(number: int, size: int = 2000) -> bytes:
    """A checkpoint of its own content that ComfyUI's emulator loads, of about `size` bytes."""
    return bytes(StateDict({"w": (size // 2,)}, seed=number, precision="F16").safetensors({}))


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit status and everything it wrote."""

    status: int
    output: str


@dataclass(frozen=True)
class Checkout:
    """A folder with the project in it, as somebody has cloned it, and the platform it deploys to."""

    folder: Path
    platform: ModalEmulator

    def modal(self, *arguments: str, answer: str = "", **environ: str) -> Done:
        """Runs `modal` in the folder; there is no terminal to ask at."""
        done = subprocess.run(
            [sys.executable, "-m", "modal", *arguments],
            env=os.environ | self.platform.environment() | {"COLUMNS": "250"} | environ,
            cwd=self.folder,
            input=answer,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=110,
        )
        for secret in SECRETS.values():
            assert secret not in done.stdout
        return Done(done.returncode, done.stdout)

    def lock(self, file: str = "models.lock.json") -> list[dict[str, Any]]:
        """The entries of a lock in the folder."""
        document = json.loads((self.folder / file).read_text())
        listed: list[dict[str, Any]] = document.get("models", document.get("nodes"))
        return listed

    @property
    def models(self) -> Path:
        """The models that were committed to the Volume."""
        return self.platform.volume_dir(VOLUME) / "models"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubEmulator]:
    small = {f"{name}.safetensors": weights(number) for number, name in enumerate("abcdef")}
    large = {f"large-{number}.safetensors": weights(number, 1_200_000) for number in range(3)}
    civitai = {7: CivitaiVersion([CivitaiFile(1, "painted.safetensors", weights(77), primary=True)])}
    plain = {"plain.safetensors": weights(88)}
    tokens = (SECRETS["HF_TOKEN"], SECRETS["CIVITAI_TOKEN"])
    with HubEmulator({"owner/name": Repo(small | large)}, civitai=civitai, files=plain, tokens=tokens) as emulator:
        yield emulator


def entry(hub: HubEmulator, letter: str, directory: str = "checkpoints") -> dict[str, Any]:
    """The entry of the lock for one of the hub's models."""
    content = weights("abcdef".index(letter))
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": f"{letter}.safetensors"}
    return {
        "directory": directory,
        "name": f"{letter}.safetensors",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "sources": [source],
    }


@pytest.fixture(scope="module")
def checkout(hub: HubEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose lock names a and d, and the app deployed from it; nothing is on the Volume yet."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, folder / name)
    write_lock(folder / "models.lock.json", entry(hub, "a"), entry(hub, "d"))
    # No image is built here: every container finds the locks as they were when the app was deployed.
    baked = folder / "image-of-the-deployment"
    baked.mkdir()
    for name in ("models.lock.json", "nodes.lock.json"):
        shutil.copyfile(folder / name, baked / name)
    image = {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(baked / "models.lock.json"),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYUI_PORT": str(free_port()),
        "HF_ENDPOINT": hub.url,
        "CIVITAI_ENDPOINT": hub.url,
        "COMFYPORT_NODES_PROTOCOLS": "file",
    }
    with ModalEmulator(secrets={APP: SECRETS}, env=image) as platform:
        made = Checkout(folder, platform)
        deployed = made.modal("deploy", "modal_entry.py")
        assert deployed.status == 0, deployed.output
        yield made
