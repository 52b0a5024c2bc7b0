"""Pins custom nodes and tries them: they are part of the image, so that a deployment brings them to the app."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from comfyport.serve.modal_service.housekeeping.downloads import run_json
from comfyport.serve.modal_service.housekeeping.report import Report


def add_nodes(names: Sequence[str], ref: str, lock: str) -> Report:
    """Pins nodes in the lock, a copy of which is `lock`, and installs all of it once, in a folder that is thrown away.

    What cannot be installed is in no lock: the image could not be built with it.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="comfyport-") as folder:
        file = Path(folder, "nodes.lock.json")
        file.write_text(lock, encoding="utf-8")
        options = ["--lock", str(file), *(["--ref", ref] if ref else [])]
        status, pinned = run_json("nodes", "add", *options, "--", *names)
        if status or pinned is None:
            report.fail("The nodes were not pinned; the log above says why.")
            return report
        _, tried = run_json("nodes", "sync", "--lock", str(file), "--volume", folder)
        for node in (tried or {"nodes": []})["nodes"]:
            failure = f": {node['error']['message']}" if node["error"] else ""
            report.say(f"{node['state']:<10}  {node['name']}  {node['pin']}{failure}")
        if not tried or not tried["ok"]:
            report.fail("Not every node of the lock can be installed; the lock stays as it was.")
            return report
        report.lock, report.changed = file.read_text(encoding="utf-8"), True
    return report
