"""What the commands of `comfyport nodes` have in common: what their options stand for."""

from dataclasses import dataclass
from pathlib import Path

from comfyport.comfyui.launch import Installation
from comfyport.errors import InvalidLock
from comfyport.nodes import lock, startup
from comfyport.nodes.checkout import Git
from comfyport.nodes.places import Place
from comfyport.nodes.registry import Registry
from comfyport.settings import Settings

DEFAULT_LOCK = Path("nodes.lock.json")


@dataclass(frozen=True)
class Asked:
    """The settings, the lock's file, and the places where nodes can lie."""

    settings: Settings
    file: Path
    volume: Place
    image: Place

    def lock(self) -> lock.Lock:
        """The lock. Raises InvalidLock."""
        return lock.load(self.file)

    def installation(self) -> Installation:
        """The ComfyUI that the nodes are for. Raises ComfyUIMissing."""
        return Installation.find(self.settings.comfyui_directory, python=self.settings.comfyui_python, arguments=())

    def constraints(self) -> str:
        """The text of the constraints, empty if there are none. Raises NodeError."""
        return startup.constraints(self.settings.constraints_file)


def ask(lock_file: Path | None, volume: Path | None) -> Asked:
    """What the options and the environment say. Raises UsageError."""
    settings = Settings.load()
    root = volume or settings.volume_folder
    return Asked(
        settings,
        lock_file or settings.nodes_lock_file or DEFAULT_LOCK,
        Place.on_volume(root),
        Place.in_image(settings.comfyui_directory),
    )


def git_of(settings: Settings) -> Git:
    """git, as the settings allow it."""
    return Git(settings.nodes_protocols)


def registry_of(settings: Settings) -> Registry:
    """The registry of the settings."""
    return Registry(settings.comfy_registry)


def load_or_new(file: Path) -> lock.Lock:
    """The lock, or an empty one if there is no file yet. Raises InvalidLock."""
    if file.exists():
        return lock.load(file)
    if not file.parent.is_dir():
        raise InvalidLock(str(file), ["its folder does not exist"])
    return lock.Lock.model_validate({"version": 1, "nodes": []})
