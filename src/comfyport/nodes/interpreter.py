"""The Python that runs ComfyUI: what it is, and which packages it has."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from comfyport.errors import NodeError

# PYTHONPATH and the user's own packages are left out: what counts is what the image has.
_QUESTION = """
import json, os, sys, sysconfig
folders = [path for path in sys.path if os.path.isdir(path)]
print(json.dumps({
    "tag": sys.implementation.cache_tag + "-" + sysconfig.get_platform(),
    "installed": sorted({name for path in folders for name in os.listdir(path) if name.endswith(".dist-info")}),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python, its kind (`cpython-313-linux-x86_64`) and its packages, as `name-version`, sorted."""

    python: Path
    tag: str
    installed: tuple[str, ...]

    @classmethod
    def ask(cls, python: Path) -> "Interpreter":
        """Runs `python` for some 20 ms. Raises NodeError if it cannot be run."""
        try:
            done = subprocess.run(
                [str(python), "-I", "-c", _QUESTION], capture_output=True, text=True, timeout=60, check=True
            )
            answer = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise NodeError(f"{python} cannot be run: {error}. Set COMFYUI_PYTHON to ComfyUI's Python.") from None
        names = tuple(name.removesuffix(".dist-info") for name in answer["installed"])
        return cls(python, answer["tag"], names)

    def has(self, package: str) -> bool:
        """Whether a package of this name is installed."""
        return any(normal(name.partition("-")[0]) == package for name in self.installed)

    def pins(self) -> list[str]:
        """Constraints that keep torch, and what belongs to it, as they are."""
        split = (name.partition("-")[::2] for name in self.installed)
        return [f"{name}=={version}" for name, version in split if is_torch(name)]


def is_torch(name: str) -> bool:
    """Whether a package is torch or belongs to it: another version would not fit the image's CUDA line."""
    plain = normal(name)
    return plain in ("torch", "torchvision", "torchaudio", "triton") or plain.startswith("nvidia-")


def normal(name: str) -> str:
    """A package's name in the form in which equal names are the same (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
