"""The housekeeping of the Volume: what `modal run modal_entry.py::...` does in a container without a GPU."""

import os
import subprocess
import sys

from comfyport.errors import ModelError


def models(*arguments: str, groups: str = "") -> None:
    """Runs `comfyport models` with `arguments`. Raises ModelError if it does not end with 0."""
    environ = os.environ | ({"MODEL_GROUPS": groups} if groups else {})
    status = subprocess.run([sys.executable, "-m", "comfyport", "models", *arguments], env=environ, check=False)
    if status.returncode:
        raise ModelError(f"`comfyport models {' '.join(arguments)}` ended with {status.returncode}; see above.")
