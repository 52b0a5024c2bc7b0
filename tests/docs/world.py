"""A folder with a copy of the project, and on loopback what the documents' commands reach for."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfyport.models.volume import Volume
from emulators.hub import HubEmulator
from emulators.hub.quickstart import quickstart_civitai, quickstart_files, quickstart_repos
from emulators.modal import ModalEmulator
from emulators.registry import RegistryEmulator
from emulators.runpod.rest.emulator import RestEmulator
from tests.conftest import EMULATOR, TINY_CHECKPOINT, container, container_environ, free_port
from tests.docs.commands import ROOT
from tests.nodes.conftest import NODE, commit, git

KEY = "choose-one"
QUICKSTART = ROOT / "examples" / "quickstart"
REGISTRY = {
    ("comfyui-kjnodes", "1.1.6"): {"__init__.py": NODE.encode()},
    ("comfyui-impact-pack", "1.2.3"): {"__init__.py": NODE.encode()},
}


@dataclass(frozen=True)
class World:
    """Where commands run, with which variables, and what stands for addresses that a document writes."""

    folder: Path
    environ: Mapping[str, str]
    stands_for: Mapping[str, str]

    def here(self, text: str) -> str:
        """A command as it is run: with ports and hosts of this world."""
        for written, meant in self.stands_for.items():
            text = re.sub(written, meant, text)
        return text


@contextmanager
def services(folder: Path) -> Iterator[World]:
    """A worker, and every service that has an emulator; its folder has a lock and no project yet."""
    with ExitStack() as stack:
        hub = stack.enter_context(
            HubEmulator(
                quickstart_repos(),
                civitai=quickstart_civitai(),
                files=quickstart_files(),
                tokens=["hf_...", "hf_your_token"],
            )
        )
        registry = stack.enter_context(RegistryEmulator(REGISTRY))
        rest = stack.enter_context(RestEmulator("rpa_test"))
        shutil.copy(QUICKSTART / "models.lock.json", folder)
        door = free_port()
        environ = container_environ(
            folder,
            COMFYPORT_API_KEY=KEY,
            HF_ENDPOINT=hub.url,
            COMFY_REGISTRY_ENDPOINT=registry.url,
            COMFYPORT_NODES_PROTOCOLS="https,file",
            COLUMNS="120",
        )
        _write_volume(folder / "volume")
        worker = stack.enter_context(container((ROOT / "src" / "start.sh",), folder, {**environ, "PORT": str(door)}))
        worker.read_until("ComfyUI is ready")
        yield World(folder, environ, _stands_for(door, rest.url))


@contextmanager
def with_project(served: World, home: Path, *, has_secret: bool) -> Iterator[World]:
    """The same services with a Modal of its own, and a copy of the project below `home` that commands may change."""
    place = home / "comfyport"
    _copy_project(place)
    # What a command starts is another container on the same volume.
    own = {
        "HOME": str(home),
        "COMFYPORT_LOCK": str(place / "models.lock.json"),
        "COMFYPORT_RUN_DIR": str(home / "run"),
        "PORT": str(free_port()),
        "COMFYUI_PORT": str(free_port()),
    }
    secrets = {"comfyport": {"COMFYPORT_API_KEY": KEY}} if has_secret else {}
    with ModalEmulator(secrets=secrets, env=_image(home, place, served.environ["HF_ENDPOINT"])) as modal:
        yield World(place, {**served.environ, **own, **modal.environment()}, served.stands_for)


def _copy_project(place: Path) -> None:
    """What git knows and what is new, the environment by a link, and files that the documents take as given."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    (place / ".venv").symlink_to(ROOT / ".venv")
    shutil.copy(QUICKSTART / "models.lock.json", place / "models.lock.json")
    shutil.copy(QUICKSTART / "input.png", place / "in.png")
    job = (ROOT / "examples" / "text-to-image" / "job.json").read_text()
    (place / "job.json").write_text(job)
    (place / "workflow.json").write_text(json.dumps(json.loads(job)["input"]["workflow"]))
    # An answer that is an error is a failure of the command.
    (place.parent / ".curlrc").write_text("fail-with-body\nsilent\n")
    _write_repository(place.parent / "rgthree-comfy", place)


def _write_repository(repository: Path, place: Path) -> None:
    """A custom node in the place of one on GitHub, and a snapshot that names it."""
    pinned = commit(repository, {"__init__.py": NODE})
    git("tag", "v1.0", cwd=repository)
    address = "https://github.com/rgthree/rgthree-comfy"
    (place / "snapshot.json").write_text(
        json.dumps({"git_custom_nodes": {address: {"hash": pinned, "disabled": False}}})
    )
    home = repository.parent / ".gitconfig"
    home.write_text(f'[url "file://{repository}"]\n\tinsteadOf = {address}\n')


def _write_volume(root: Path) -> None:
    volume = Volume(root)
    volume.prepare()
    checkpoint = volume.file("checkpoints/v1-5-pruned-emaonly-fp16.safetensors")
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(TINY_CHECKPOINT)


def _image(folder: Path, place: Path, hub: str) -> dict[str, str]:
    """The environment of a container on Modal, as the image would have it."""
    return {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(place / "models.lock.json"),
        "COMFYPORT_RUN_DIR": str(folder / "modal"),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYUI_PORT": str(free_port()),
        "HF_ENDPOINT": hub,
    }


def _stands_for(door: int, rest: str) -> dict[str, str]:
    emulated = free_port()
    return {
        r"127\.0\.0\.1:8000": f"127.0.0.1:{door}",
        r"(127\.0\.0\.1:|--port )8901": rf"\g<1>{emulated}",
        r"--port 8900": f"--port {free_port()}",
        r"RUNPOD_API_KEY=\.\.\.": "RUNPOD_API_KEY=rpa_test",
        r"runpod-deploy\.py (?!.*--api)": f"runpod-deploy.py --api {rest} ",
    }
