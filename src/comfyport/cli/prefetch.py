"""`comfyport models prefetch`: reads the models of the chosen groups into memory while ComfyUI starts."""

import threading
from collections.abc import Iterator
from pathlib import Path

import typer

from comfyport import supply
from comfyport.cli.options import LockOption, VolumeOption, chosen
from comfyport.errors import ComfyportError
from comfyport.models import lock, prefetch
from comfyport.models.volume import Volume
from comfyport.settings import Settings


def prefetch_command(lock: LockOption = None, volume: VolumeOption = None) -> None:
    """Read the models into memory, so that ComfyUI loads them sooner. Says how it went and never fails."""
    try:
        summary = _prefetch(lock, volume)
    except (ComfyportError, OSError) as error:
        summary = f"nothing read: {error}"
    typer.echo(f"prefetch: {summary}", err=True)


def _prefetch(lock_file: Path | None, volume: Path | None) -> str:
    settings = Settings.load()
    groups = _groups(settings)
    if groups is None:
        return "off"
    place = supply.volume(settings, volume)
    files = list(_files(chosen(lock_file, settings, place, groups), place))
    budget = prefetch.budget(Path("/proc/meminfo").read_text(encoding="ascii"))
    done = prefetch.prefetch(files, budget=budget, stop=threading.Event())
    rate = done.bytes / 1e6 / done.seconds if done.seconds else 0.0
    return (
        f"{done.files} of {len(files)} files, {done.bytes / 1e6:.1f} MB read in {done.seconds:.1f} s "
        f"({rate:.0f} MB/s), {done.cached / 1e6:.1f} MB in memory already, {budget / 1e6:.0f} MB allowed"
    )


def _groups(settings: Settings) -> tuple[str, ...] | None:
    """The groups that PREFETCH asks for; None for none."""
    chosen = settings.prefetch.strip().lower()
    if chosen == "off":
        return None
    if chosen == "auto":
        return settings.model_groups
    return tuple(group.strip() for group in settings.prefetch.split(",") if group.strip())


def _files(entries: tuple[lock.Entry, ...], volume: Volume) -> Iterator[Path]:
    """The files of the entries in the lock's order; those of an archive are what was unpacked from it."""
    for entry in entries:
        receipt = volume.receipt(entry.path)
        for path in [member.path for member in receipt.members] if receipt and receipt.members else [entry.path]:
            yield volume.file(path)
