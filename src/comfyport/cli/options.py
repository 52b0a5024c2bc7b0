"""What the commands of `comfyport models` have in common: options, and what they stand for."""

from pathlib import Path
from typing import Annotated

import typer

from comfyport import supply
from comfyport.models import amendments, lock
from comfyport.models.lock import Entry
from comfyport.models.volume import Volume
from comfyport.settings import Settings

LockOption = Annotated[Path | None, typer.Option("--lock", help="The lock file; else COMFYPORT_LOCK.")]
VolumeOption = Annotated[Path | None, typer.Option("--volume", help="The volume; else COMFYPORT_VOLUME.")]
LockedOption = Annotated[bool, typer.Option("--locked", help="Refuse a lock that leaves something open.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def ask(lock_file: Path | None, volume: Path | None) -> tuple[Settings, tuple[Entry, ...], Volume]:
    """The settings, the chosen entries of the lock, and the volume. Raises UsageError."""
    settings = Settings.load()
    place = supply.volume(settings, volume)
    return settings, chosen(lock_file, settings, place, settings.model_groups), place


def chosen(lock_file: Path | None, settings: Settings, place: Volume, groups: tuple[str, ...]) -> tuple[Entry, ...]:
    """The entries of `groups`: of the lock that an option names, else of the settings' with the volume's amendments.

    Raises UsageError.
    """
    if lock_file:
        return lock.load(lock_file).choose(groups)
    return amendments.choose(settings.lock, place, groups)
