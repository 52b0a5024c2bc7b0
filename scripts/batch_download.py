"""Adds all models of a list to the Volume of the app on Modal, and to models.lock.json.

modal run scripts/batch_download.py --list models.txt

The list has a line for each, `DIRECTORY ADDRESS [NAME]`; or it is JSON, `[{"directory", "url", "name"}]`, as the models
of a workflow are.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from comfyport.serve.modal_service.housekeeping import desk  # noqa: E402
from modal_entry import chore, housekeeping  # noqa: E402


@housekeeping.local_entrypoint()
def batch_download(list: str, groups: str = "", restart: bool | None = None) -> None:  # noqa: A002 - it is the option's name
    """Pins and fetches what the file `list` names, in several containers when it is much."""
    lock = ROOT / "models.lock.json"
    desk.add_list(chore, Path(list), groups=desk.words(groups), lock=lock, restart=restart)
