"""Importing modal_entry.py: without a token, without the network, without a package beside modal's own."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# Prints which modules the import brings beside modal's own, and what it did on the network.
LOOK = """
import json, sys
import modal

before, network = set(sys.modules), []
sys.addaudithook(lambda event, _: network.append(event) if event.startswith("socket.") else None)
sys.path.insert(0, sys.argv[1])
import modal_entry

print(json.dumps({"modules": sorted(set(sys.modules) - before), "network": network, "app": modal_entry.app.name}))
"""
# Those that do the work, and import what is installed in the image only.
ROOMS = {"cli", "jobs", "models", "nodes", "wiring", "worker"}


def test_importing_the_entry_needs_no_token_no_network_and_no_package_but_modal(tmp_path: Path):
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MODAL_CONFIG_PATH": str(tmp_path / "modal.toml")}

    done = subprocess.run(
        [sys.executable, "-c", LOOK, ROOT], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["app"] == "comfyport"
    assert seen["network"] == []
    installed = {module.partition(".")[0] for module in seen["modules"]} - sys.stdlib_module_names
    assert installed == {"comfyport", "modal_entry"}
    assert not ROOMS & {module.split(".")[1] for module in seen["modules"] if module.startswith("comfyport.")}
