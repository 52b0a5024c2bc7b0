"""Looks after the Volume: whether it holds what the lock names, what takes its room, what nobody needs any more."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from comfyport import supply
from comfyport.models import amendments, gc
from comfyport.models.volume import Volume
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping.downloads import run_json
from comfyport.serve.modal_service.housekeeping.report import Report, amount, count
from comfyport.settings import ModalSettings, Settings

# modal.com/docs/guide/volumes: a v1 Volume works best with fewer files, and takes no more than so many.
FILES_ADVISED, FILES_AT_MOST = 50_000, 500_000


def verify(volume: Any, *, full: bool) -> Report:
    """Checks that the Volume holds what the lock asks for; with `full` every byte is read."""
    sharing.reload(volume)
    _, found = run_json("models", "verify", *(["--full"] if full else []))
    if found is None:
        return Report(ok=False, lines=["The check ended before it was done; the log above says why."])
    report = Report(ok=found["ok"], lines=[f"{each['path']}: {each['problem']}" for each in found["problems"]])
    right = found["checked"] - len(found["problems"])
    report.say(f"{right} of {count(found['checked'], 'model')} are right{', every byte of them' if full else ''}.")
    if not report.ok:
        report.say("`modal run modal_entry.py::download_models` brings what is missing or has changed.")
    return report


def find_leftovers(volume: Any) -> Report:
    """What `cleanup` would remove."""
    sharing.reload(volume)
    return _leftovers(_planned(_place()))


def cleanup(volume: Any) -> Report:
    """Removes managed files that the lock no longer names, and what broken downloads have left."""
    with sharing.up_to_date(volume):
        place = _place()
        removal = _planned(place)
        gc.remove(removal, place)
    return _leftovers(removal)


def monitor(volume: Any, *, most_gb: float) -> Report:
    """What takes the room on the Volume; with `most_gb`, it does not go well if that is more."""
    sharing.reload(volume)
    place, report = _place(), Report()
    sizes, files = _sizes(place.root)
    report.lines += [f"{amount(size):>10}  {folder}" for folder, size in sizes.most_common()]
    total = sum(sizes.values())
    report.say(f"{amount(total)} in {count(files, 'file')} on the Volume {ModalSettings.load().volume}.")
    removal = _planned(place)
    if removal.bytes:
        report.say(f"{amount(removal.bytes)} of it nobody needs: `modal run modal_entry.py::cleanup_models`.")
    if files > FILES_ADVISED:
        report.say(f"A v1 Volume is slow with more than {FILES_ADVISED:,} files and takes {FILES_AT_MOST:,} at most.")
    if most_gb and total > most_gb * 1e9:
        report.fail(f"That is more than {most_gb:g} GB.")
    return report


def _place() -> Volume:
    return supply.volume(Settings.load())


def _planned(place: Volume) -> gc.Removal:
    return gc.plan_removal(amendments.load(Settings.load().lock, place).models, place)


def _leftovers(removal: gc.Removal) -> Report:
    names = (*removal.files, *(part.name for part in removal.parts), *removal.leases)
    report = Report(lines=list(names), changed=not removal.empty)
    report.say(f"{count(len(names), 'thing')}, {amount(removal.bytes)} in all.")
    return report


def _sizes(root: Path) -> tuple[Counter[str], int]:
    """Bytes by folder, two steps deep, and how many files there are; a link takes nothing."""
    sizes: Counter[str] = Counter()
    files = 0
    for folder, _, names in os.walk(root):
        for file in (Path(folder, name) for name in names):
            files += 1
            if not file.is_symlink():
                sizes["/".join(file.relative_to(root).parts[:-1][:2]) or "."] += file.stat().st_size
    return sizes, files
