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
# The rooms of comfyport that import nothing that would have to be installed first.
LIGHT = {
    *("comfyport.comfyui", "comfyport.comfyui.arguments", "comfyport.environment", "comfyport.errors"),
    *("comfyport.serve", "comfyport.serve.modal_service", "comfyport.serve.modal_service.deployment"),
    *("comfyport.settings",),
}


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
    assert {module for module in seen["modules"] if module.startswith("comfyport.")} <= LIGHT
