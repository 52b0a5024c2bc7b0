"""Adds a model by its address to the Volume of the app on Modal, and to models.lock.json: of Civitai, or any other.

modal run scripts/add_model_url.py --url https://civitai.com/models/4384?modelVersionId=128713 --directory checkpoints
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from comfyport.serve.modal_service.housekeeping import desk  # noqa: E402
from modal_entry import chore, housekeeping  # noqa: E402


@housekeeping.local_entrypoint()
def add_model_url(
    url: str,
    directory: str = "",
    name: str = "",
    sha256: str = "",
    auth: str = "",
    groups: str = "",
    restart: bool | None = None,
) -> None:
    """Pins and fetches what `url` means; `auth` is the variable in the Secret that holds a token for it."""
    request = {"address": url, "directory": directory, "name": name, "sha256": sha256, "auth": auth}
    desk.add_models(chore, [{**request, "groups": desk.words(groups)}], lock=ROOT / "models.lock.json", restart=restart)
