"""Adds custom nodes to nodes.lock.json for the app on Modal, once they were seen to install.

modal run scripts/add_custom_nodes.py --nodes comfyui-kjnodes@1.1.6,https://github.com/rgthree/rgthree-comfy
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from comfyport.serve.modal_service.housekeeping import desk  # noqa: E402
from modal_entry import chore, housekeeping  # noqa: E402


@housekeeping.local_entrypoint()
def add_custom_nodes(nodes: str, ref: str = "", restart: bool | None = None) -> None:
    """Pins nodes, by registry id or git address, separated by commas; `ref` is a branch, a tag or a commit of one."""
    lock, entry = ROOT / "nodes.lock.json", ROOT / "modal_entry.py"
    desk.add_nodes(chore, desk.words(nodes), ref, lock=lock, entry=entry, restart=restart)
