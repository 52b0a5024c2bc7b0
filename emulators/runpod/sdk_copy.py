"""A copy of the installed worker SDK whose source differs from it, as a newer or a patched one's would."""

import importlib.util
import shutil
from pathlib import Path


def changed_sdk(folder: Path) -> Path:
    """Copies the package `runpod` into `folder` and adds a line to its scaler; the folder, for PYTHONPATH.

    It behaves as the original. Raises ModuleNotFoundError if there is none.
    """
    found = importlib.util.find_spec("runpod")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("runpod is not installed", name="runpod")
    copy = folder / "runpod"
    shutil.copytree(Path(found.origin).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "serverless" / "modules" / "rp_scale.py").open("a", encoding="utf-8") as source:
        source.write("\n# changed\n")
    return folder
