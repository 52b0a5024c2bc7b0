"""The quickstart catalogue: three files, together under 60 MB, that a newcomer's first run downloads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from emulators.hub import weights
from emulators.hub.content import Content, MadeContent
from emulators.hub.shelves import CivitaiFile, CivitaiVersion, Repo

REPO = "comfyport/quickstart"
REVISION = "c0ffee5e1f00d5ca1ab1e0ddba11c0c0a5eedf17"
CIVITAI_VERSION = 1001

_CARD = b"""---
license: apache-2.0
---
# comfyport quickstart

Small files to try a deployment with. The upscaler is a true RRDBNet (Real-ESRGAN's names) that ComfyUI loads;
its weights are random around a path that carries the picture through. The checkpoint and the LoRA are random
numbers: the emulator of ComfyUI takes them, ComfyUI itself does not.
"""


@dataclass(frozen=True)
class WeightFile:
    """One file of the catalogue, made when its bytes are first asked for."""

    path: str
    size: int
    sha256: str
    make: Callable[[], bytes]

    @cached_property
    def data(self) -> bytes:
        """The bytes, which have the size and the sha256 that are written down here."""
        return self.make()

    @property
    def content(self) -> Content:
        """The file as the emulator serves it."""
        return MadeContent(self.size, self.sha256, lambda: self.data)


_CATALOGUE = (
    WeightFile(
        "upscale_models/quickstart-4x.safetensors",
        17888836,
        "8f5ce0cfd7c643fe31a1624283c0512e992184b5eee42884561f40503b535baa",
        weights.upscaler,
    ),
    WeightFile(
        "checkpoints/quickstart.safetensors",
        25167112,
        "f5859c3a55e6f3d1d250bdb80aff992a7d105e62c4d91ae5ba1a576a95885930",
        weights.checkpoint,
    ),
    WeightFile(
        "loras/quickstart-lora.safetensors",
        16784312,
        "2666191826bf74b384cdfe1534e63308277ef1377a98beb564f4fc5badf23551",
        weights.lora,
    ),
)


def quickstart_catalogue() -> Mapping[str, WeightFile]:
    """The three files by their path in the repository; none is made yet."""
    return {file.path: file for file in _CATALOGUE}


def quickstart_repos() -> dict[str, Repo]:
    """The catalogue as a public repository of the Hub, `comfyport/quickstart`, with a card."""
    files: dict[str, bytes | Content] = {file.path: file.content for file in _CATALOGUE}
    return {REPO: Repo(files={"README.md": _CARD, **files}, revision=REVISION)}


def quickstart_civitai() -> dict[int, CivitaiVersion]:
    """The LoRA as a model version of Civitai that needs no login."""
    lora = quickstart_catalogue()["loras/quickstart-lora.safetensors"]
    file = CivitaiFile(id=1, name="quickstart-lora.safetensors", data=lora.content, primary=True)
    version = CivitaiVersion(files=(file,), model="comfyport quickstart", model_type="LORA", needs_login=False)
    return {CIVITAI_VERSION: version}


def quickstart_files() -> dict[str, Content]:
    """The catalogue as files on a plain host, at `/files/quickstart/...`."""
    return {f"quickstart/{file.path}": file.content for file in _CATALOGUE}
