"""The GPUs and their driver, held against the CUDA that ComfyUI's torch was built for."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from comfyport.comfyui import gpu
from comfyport.doctor.finding import Finding
from comfyport.errors import NoGPU

AREA = "gpu"
GIB = 1 << 30
_DRIVER = re.compile(r"Kernel Module\D*(\d+(?:\.\d+)+)")
# Without -c "import torch", which takes seconds: the file has nothing but a few names.
_QUESTION = """
import importlib.util, os, runpy
found = importlib.util.find_spec("torch")
names = runpy.run_path(os.path.join(os.path.dirname(found.origin), "version.py")) if found else {}
print(names.get("__version__", ""), names.get("cuda") or "")
"""


def examine(python: Path, *, device: str, driver: Path = Path("/proc/driver/nvidia/version")) -> Iterator[Finding]:
    """Findings on GPUs and torch. `python` is ComfyUI's; `driver` is the driver's own word on its version."""
    version, cuda = _torch(python)
    if device == "cpu":
        yield Finding(AREA, "device", "note", "ComfyUI runs on the CPU (COMFYPORT_DEVICE=cpu)")
    else:
        yield from _gpus(cuda, _driver_version(driver))
    if not version:
        fix = "Install torch there, or set COMFYUI_PYTHON to the Python that has it."
        yield Finding(AREA, "torch", "problem", f"{python} has no torch", fix)
    elif cuda or device == "cpu":
        yield Finding(AREA, "torch", "ok", f"{version}, {f'built for CUDA {cuda}' if cuda else 'for the CPU only'}")
    else:
        fix = "Install a torch that is built for CUDA, or use the image's GPU build."
        yield Finding(AREA, "torch", "problem", f"{version} is built for the CPU only", fix)


def _gpus(cuda: str, driver: str) -> Iterator[Finding]:
    try:
        devices, offered = gpu.devices(), gpu.cuda_version()
    except NoGPU as error:
        reason, _, fix = error.message.partition(". ")
        yield Finding(AREA, "device", "problem", reason, fix)
        return
    for number, device in enumerate(devices):
        yield Finding(AREA, f"device {number}", "ok", f"{device.name}, {device.memory / GIB:.0f} GiB")
    major, minor = offered
    said = f"{driver or 'driver'}, for CUDA {major}.{minor} and older"
    # An older driver serves a newer minor version (CUDA Compatibility, "Minor Version Compatibility").
    if cuda and int(cuda.partition(".")[0]) > major:
        fix = f"Choose a host whose driver offers CUDA {cuda}, or the image that is built for CUDA {major}."
        yield Finding(AREA, "driver", "problem", f"{said}; torch needs CUDA {cuda}", fix)
    else:
        yield Finding(AREA, "driver", "ok", said)


def _torch(python: Path) -> tuple[str, str]:
    """torch's version and CUDA as its own file says them; empty if there is none."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _QUESTION], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "", ""
    version, _, cuda = done.stdout.strip().partition(" ")
    return version, cuda


def _driver_version(file: Path) -> str:
    try:
        found = _DRIVER.search(file.read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[1] if found else ""
