"""Brings models to the Volume: in this container, or in several side by side when much is missing."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyport import supply
from comfyport.environment import as_words
from comfyport.models import amendments, plan
from comfyport.models.lock import Entry, Lock
from comfyport.models.spread import spread
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping.report import Report, amount, count
from comfyport.settings import ModalSettings, Settings

Result = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """What a download takes place with: the Volume, and the function that `fetch_batch` is in other containers."""

    volume: Any
    fetch: Any


def download(site: Site, groups: str = "") -> Report:
    """Fetches what the lock asks for and the Volume lacks; `groups` as in MODEL_GROUPS. Raises UsageError."""
    sharing.reload(site.volume)
    settings = Settings.load()
    chosen = as_words(groups) or settings.model_groups
    report = Report()
    bring(amendments.choose(settings.lock, supply.volume(settings), chosen), site, report)
    return report


def bring(entries: Sequence[Entry], site: Site, report: Report) -> None:
    """Brings `entries` to the Volume, commits it, shows what others have brought, and tells how it went."""
    settings, modal_settings, started = Settings.load(), ModalSettings.load(), time.monotonic()
    place = supply.volume(settings)
    made = plan.make(entries, state=place.state, receipt=place.receipt)
    batches = spread(
        [action.entry for action in made.work],
        most=modal_settings.downloaders,
        bytes_each=modal_settings.downloader_mb * 10**6,
    )
    results = _in_several(batches, site) if len(batches) > 1 else [_here(batch, site) for batch in batches]
    models = [model for result in results for model in result["models"]]
    report.lines += [_line(model) for model in models]
    for problem in (result["problem"] for result in results):
        if problem:
            report.fail(problem)
    left = plan.make(entries, state=place.state, receipt=place.receipt).work
    report.ok = report.ok and not left
    report.changed = report.changed or bool(models)
    fetched = sum(model["bytes"] for model in models)
    where = f" by {count(len(batches), 'container')}" if batches else ""
    report.say(
        f"{len(entries) - len(left)} of {count(len(entries), 'model')} are on the Volume {modal_settings.volume}; "
        f"{amount(fetched)} downloaded{where} in {time.monotonic() - started:.0f} s."
    )


def fetch_batch(volume: Any, lock: str) -> Result:
    """Brings what `lock`, the text of one, names. The container that this runs in may have seen the Volume before."""
    with sharing.up_to_date(volume):
        return _sync(lock)


def run_json(room: str, command: str, *arguments: str, groups: str | None = None) -> tuple[int, Any]:
    """Runs `comfyport ROOM COMMAND --json`: its exit status, and what it printed, None if that is no JSON.

    `groups` stands for MODEL_GROUPS if it is given. The command's progress goes to the container's log.
    """
    environ = os.environ if groups is None else {**os.environ, "MODEL_GROUPS": groups}
    line = [sys.executable, "-m", "comfyport", room, command, "--json", *arguments]
    done = subprocess.run(line, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, None


def _here(batch: Sequence[Entry], site: Site) -> Result:
    try:
        return _sync(_lock_of(batch))
    finally:
        sharing.commit(site.volume)


def _in_several(batches: Sequence[Sequence[Entry]], site: Site) -> list[Result]:
    """Every batch in a container of its own, as Modal finds room for them."""
    locks = [_lock_of(batch) for batch in batches]
    answers = list(site.fetch.map(locks, return_exceptions=True, wrap_returned_exceptions=False))
    sharing.reload(site.volume)
    return [
        answer if isinstance(answer, dict) else {"models": [], "problem": f"A container of the download: {answer}"}
        for answer in answers
    ]


def _sync(lock: str) -> Result:
    with tempfile.TemporaryDirectory(prefix="comfyport-") as folder:
        file = Path(folder, "models.lock.json")
        file.write_text(lock, encoding="utf-8")
        status, document = run_json("models", "sync", "--lock", str(file), groups="")
    if document is None:
        return {"models": [], "problem": f"`comfyport models sync` ended with {status}; its log says why."}
    return {"models": document["models"], "problem": ""}


def _lock_of(entries: Sequence[Entry]) -> str:
    """A lock of these entries, all of which are to be fetched whatever their groups."""
    models = tuple(entry.model_copy(update={"groups": ()}) for entry in entries)
    return Lock(version=1, models=models).model_dump_json(exclude_defaults=True)


def _line(model: dict[str, Any]) -> str:
    if model["error"]:
        return f"failed      {model['path']}: {model['error']['message']}"
    size = f"  {amount(model['bytes'])} in {model['seconds']:.1f} s" if model["bytes"] else ""
    return f"{model['state']:<10}  {model['path']}{size}"
