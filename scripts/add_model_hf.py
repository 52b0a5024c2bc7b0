"""Adds a model from Hugging Face to the Volume of the app on Modal, and to models.lock.json.

modal run scripts/add_model_hf.py --repo OWNER/NAME --file weights.safetensors --directory checkpoints
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from comfyport.serve.modal_service.housekeeping import desk  # noqa: E402
from modal_entry import chore, housekeeping  # noqa: E402


@housekeeping.local_entrypoint()
def add_model_hf(
    repo: str,
    file: str,
    directory: str,
    name: str = "",
    revision: str = "main",
    groups: str = "",
    restart: bool | None = None,
) -> None:
    """Pins the file at the commit that `revision` is at now, and fetches it."""
    request = {"repo": repo, "file": file, "revision": revision, "directory": directory, "name": name}
    desk.add_models(chore, [{**request, "groups": desk.words(groups)}], lock=ROOT / "models.lock.json", restart=restart)
