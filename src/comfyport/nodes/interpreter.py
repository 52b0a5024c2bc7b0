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
names = [name for path in sys.path if os.path.isdir(path) for name in sorted(os.listdir(path))]
print(json.dumps({
    "tag": sys.implementation.cache_tag + "-" + sysconfig.get_platform(),
    "installed": [name for name in names if name.endswith((".dist-info", ".egg-info"))],
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
        found: dict[str, str] = {}
        for file in answer["installed"]:
            # Debian's packages have names such as torch-2.6.0-py3.13.egg-info; what comes first is what is imported.
            name, _, rest = str(file).rpartition(".")[0].partition("-")
            found.setdefault(normal(name), f"{name}-{rest.partition('-')[0]}")
        return cls(python, answer["tag"], tuple(sorted(found.values())))

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
    return plain in ("torch", "torchvision", "torchaudio", "triton") or plain.startswith(("nvidia-", "cuda-"))


def normal(name: str) -> str:
    """A package's name in the form in which equal names are the same (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
