"""The layers of an image: what made each, and its size as files and as it is pushed."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import containers

_TORCH = "torch and its libraries"
_PACKAGES = "ComfyUI's packages"
_REST = "comfyport, locks and scripts"
# What is in the instruction that makes a part, in the order of the Dockerfile.
_PARTS = (
    ("Debian", "ADD file:"),
    ("Python, git, libgl1, tini", "apt-get update"),
    ("uv", "in /usr/local/bin"),
    (_TORCH, "/install-torch.sh"),
    ("the worker's packages", "worker.lock"),
    ("ComfyUI", "in /opt/ComfyUI"),
    (_PACKAGES, "/opt/ComfyUI/requirements.txt"),
)


@dataclass(frozen=True)
class Layer:
    """One layer; sizes in bytes. `compressed` is None if nobody compressed it."""

    digest: str
    made_by: str
    size: int
    compressed: int | None = None


def of(image: str) -> list[Layer]:
    """The layers of a local image, the lowest first."""
    digests = json.loads(containers.output("podman", "image", "inspect", "--format={{json .RootFS.Layers}}", image))
    steps = reversed(json.loads(containers.output("podman", "history", "--format=json", image)))
    sizes = [(step["CreatedBy"], step["size"]) for step in steps if not _only_settings(step["CreatedBy"])]
    return [Layer(digest, made_by, size) for digest, (made_by, size) in zip(digests, sizes, strict=True)]


def compressed(image: str, folder: Path, *, compression: str = "gzip") -> list[Layer]:
    """The layers with the sizes that a registry would hold; they are written below `folder` for that, and removed."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch)
        command = ["buildah", "push", "--quiet", f"--compression-format={compression}", image, f"dir:{place}"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        manifest: dict[str, Any] = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        return [
            Layer(layer.digest, layer.made_by, layer.size, pushed["size"])
            for layer, pushed in zip(of(image), manifest["layers"], strict=True)
        ]


def _only_settings(made_by: str) -> bool:
    """Whether a step of the history made no layer."""
    words = made_by.replace("/bin/sh -c #(nop)", "").split()
    return bool(words) and words[0] in {"ARG", "CMD", "ENTRYPOINT", "ENV", "USER", "WORKDIR"}


def by_part(weighed: list[Layer]) -> dict[str, tuple[int, int]]:
    """Bytes of each part of the image, as files and compressed, in the order of the layers."""
    parts: dict[str, tuple[int, int]] = {}
    for layer in weighed:
        name = next((name for name, mark in _PARTS if mark in layer.made_by), _REST)
        size, packed = parts.get(name, (0, 0))
        parts[name] = (size + layer.size, packed + (layer.compressed or 0))
    return parts


def without_torch(weighed: list[Layer]) -> int:
    """Compressed bytes of everything but torch, its libraries, and the packages that ComfyUI asks for."""
    return sum(packed for name, (_, packed) in by_part(weighed).items() if name not in (_TORCH, _PACKAGES))
