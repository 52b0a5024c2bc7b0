"""Says what a container of the app finds: what `comfyport doctor` finds there, and what is Modal's own."""

import importlib.metadata
import os
import platform
from dataclasses import replace
from typing import Any

from comfyport.doctor.examination import examine
from comfyport.models import amendments
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping.report import Report
from comfyport.settings import ModalSettings, Settings
from comfyport.wiring import volume as volume_of

PACKAGES = ("comfyport", "modal", "torch", "fastapi")
SIGNS = {"ok": "ok", "note": "note", "work": "to do", "problem": "PROBLEM"}


def diagnose(volume: Any) -> Report:
    """Looks at everything, in a container without a GPU; of secrets it tells the names of those that are set."""
    sharing.reload(volume)
    report, settings = Report(), Settings.load()
    report.say(f"app: {ModalSettings.load().app} in {os.environ.get('MODAL_ENVIRONMENT') or 'the default environment'}")
    report.say(f"container: {settings.modal_task_id}, Python {platform.python_version()}, {platform.machine()}")
    report.say("packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    given = sorted(name for name in Settings.secret_names() if os.environ.get(name))
    report.say(f"secrets that are set: {', '.join(given) or 'none'}")
    report.say(f"amendments of the lock on the Volume: {', '.join(amendments.read(volume_of(settings))) or 'none'}")
    found = examine(replace(settings, device="cpu"), os.environ)
    for each in found.findings:
        report.say(f"{SIGNS[each.state]:<8} {each.area}, {each.subject}: {each.found}")
        if each.fix and each.state != "ok":
            report.say(f"{'':<8} -> {each.fix}")
    report.ok = not found.problems
    report.say("No problem was found." if report.ok else f"Problems to mend: {len(found.problems)}.")
    return report


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "is not there"
