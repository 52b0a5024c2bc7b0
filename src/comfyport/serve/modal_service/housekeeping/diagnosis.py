"""Says what a container of the app finds: what `comfyport doctor` finds there, and what is Modal's own."""

import importlib.metadata
import os
import platform
from dataclasses import replace
from typing import Any

from comfyport import supply
from comfyport.doctor.examination import examine
from comfyport.models import amendments
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping.report import Report
from comfyport.settings import ModalSettings, Settings

PACKAGES = ("comfyport", "modal", "torch", "fastapi")


def diagnose(volume: Any) -> Report:
    """Looks at everything, in a container without a GPU; of secrets it tells the names of those that are set."""
    sharing.reload(volume)
    report, settings = Report(), Settings.load()
    report.say(f"app: {ModalSettings.load().app} in {os.environ.get('MODAL_ENVIRONMENT') or 'the default environment'}")
    report.say(f"container: {settings.modal_task_id}, Python {platform.python_version()}, {platform.machine()}")
    report.say("packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    given = sorted(name for name in Settings.secret_names() if os.environ.get(name))
    report.say(f"secrets that are set: {', '.join(given) or 'none'}")
    report.say(f"amendments of the lock on the Volume: {', '.join(amendments.read(supply.volume(settings))) or 'none'}")
    found = examine(replace(settings, device="cpu"), os.environ)
    for each in found.findings:
        report.say(f"{each.sign:<8} {each.area}, {each.subject}: {each.found}")
        if each.advice:
            report.say(f"{'':<8} -> {each.advice}")
    report.ok = not found.problems
    report.say(found.sum)
    return report


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "is not there"
