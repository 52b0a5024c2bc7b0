"""Says what a container of the app finds: versions, Volume, models, and which secrets it has, never their values."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

from comfyport import wiring
from comfyport.errors import ComfyportError
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping import upkeep
from comfyport.serve.modal_service.housekeeping.report import Report, count
from comfyport.settings import ModalSettings, Settings

PACKAGES = ("comfyport", "modal", "torch", "fastapi")


def diagnose(volume: Any) -> Report:
    """Looks at what a container of the app finds. What is wrong is told, and the rest is looked at all the same."""
    report = Report()
    settings = Settings.load()
    report.say(f"app: {ModalSettings.load().app} in {os.environ.get('MODAL_ENVIRONMENT') or 'the default environment'}")
    report.say(f"container: {settings.modal_task_id}, Python {platform.python_version()}, {platform.machine()}")
    report.say("packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    _comfyui(settings.comfyui_directory, report)
    _secrets(report)
    _volume(volume, settings, report)
    report.say("All is well." if report.ok else "Not all is well: see above, and docs/modal.md.")
    return report


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "is not there"


def _comfyui(folder: Path, report: Report) -> None:
    file = folder / "comfyui_version.py"
    found = re.search(r'__version__ = "([^"]+)"', file.read_text(encoding="utf-8")) if file.is_file() else None
    if not (folder / "main.py").is_file():
        report.fail(f"ComfyUI: none in {folder}")
    else:
        report.say(f"ComfyUI: {found[1] if found else 'of an unknown version'} in {folder}")


def _secrets(report: Report) -> None:
    names = sorted(Settings.secret_names())
    given = [name for name in names if os.environ.get(name)]
    absent = [name for name in names if name not in given]
    report.say(f"secrets that are set: {', '.join(given) or 'none'}")
    report.say(f"secrets that are not: {', '.join(absent) or 'none'}")


def _volume(volume: Any, settings: Settings, report: Report) -> None:
    sharing.reload(volume)
    place = wiring.volume(settings)
    try:
        place.prepare()
        upkeep.standing(place, report)
    except ComfyportError as error:
        report.fail(f"models: {error.message}")
    nodes = sorted(path.name for path in place.custom_nodes.iterdir()) if place.custom_nodes.is_dir() else []
    report.say(f"{count(len(nodes), 'custom node')} on the Volume{': ' if nodes else ''}{', '.join(nodes)}")
