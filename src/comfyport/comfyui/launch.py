"""How ComfyUI is called so that it sees the volume: command line, folders and extra model paths.

`--base-directory` names a run-time folder whose `models` and `custom_nodes` lead to the volume, which leaves ComfyUI's
own tree untouched and suits a read-only root; what is baked into the image comes in as extra paths.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from comfyport.errors import ComfyUIMissing


@dataclass(frozen=True)
class Installation:
    """A ComfyUI on disk: its folder, the Python that runs it, and what is added to its command line."""

    directory: Path
    python: Path
    arguments: tuple[str, ...]

    @classmethod
    def find(cls, directory: Path, *, python: Path | None, arguments: tuple[str, ...]) -> "Installation":
        """The installation in `directory`, with its own environment's Python if it has one. Raises ComfyUIMissing."""
        if not (directory / "main.py").is_file():
            raise ComfyUIMissing(str(directory))
        own = (directory / name / "bin" / "python" for name in (".venv", "venv"))
        found = python or next((path for path in own if path.exists()), Path(sys.executable))
        return cls(directory.absolute(), found, arguments)


@dataclass(frozen=True)
class Launch:
    """In what a ComfyUI differs from a worker's, which has a GPU from its start and keeps nothing.

    `through`: a program and its arguments that becomes main.py; `kept`: where its users' settings, workflows, inputs
    and outputs are kept.
    """

    through: tuple[str, ...] = ()
    kept: Path | None = None


WORKER = Launch()


@dataclass(frozen=True)
class Folders:
    """Where a running ComfyUI reads and writes: its base folder, and the volume's models and custom nodes.

    `kept` is where `user`, `input` and `output` lead, if not into the base folder.
    """

    base: Path
    models: Path
    custom_nodes: Path
    kept: Path | None = None

    def prepare(self, *, baked_nodes: Path, model_directories: tuple[str, ...]) -> Path:
        """Lays the base folder out; returns the file of extra paths.

        `model_directories` are the folders below `models/` that ComfyUI has to know, existing or not yet.
        """
        (self.base / "temp").mkdir(parents=True, exist_ok=True)
        for name in ("input", "output", "user"):
            if self.kept:
                (self.kept / name).mkdir(parents=True, exist_ok=True)
                self._lead(self.base / name, self.kept / name)
            else:
                (self.base / name).mkdir(exist_ok=True)
        for name, target in (("models", self.models), ("custom_nodes", self.custom_nodes)):
            self._lead(self.base / name, target)
        present = {path.name for path in self.models.iterdir() if path.is_dir()}
        top_level = {directory.split("/")[0] for directory in model_directories}
        paths: dict[str, str] = {name: f"models/{name}" for name in sorted(present | top_level)}
        file = self.base / "extra_model_paths.yaml"
        sections: dict[str, dict[str, str]] = {"volume": {"base_path": str(self.base), **paths}}
        # ComfyUI does not start when a folder of custom nodes is missing.
        if baked_nodes.is_dir():
            sections["image"] = {"custom_nodes": str(baked_nodes)}
        # JSON is YAML, and quotes every name rightly.
        file.write_text(json.dumps(sections), encoding="utf-8")
        return file

    @staticmethod
    def _lead(link: Path, target: Path) -> None:
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(target)


def command(
    installation: Installation, folders: Folders, extra_paths: Path, *, port: int, device: str, launch: Launch = WORKER
) -> tuple[str, ...]:
    """ComfyUI's command line; it listens on 127.0.0.1 only."""
    return (
        str(installation.python),
        *launch.through,
        str(installation.directory / "main.py"),
        "--listen=127.0.0.1",
        f"--port={port}",
        "--disable-auto-launch",
        f"--base-directory={folders.base}",
        f"--extra-model-paths-config={extra_paths}",
        # By default it lies in ComfyUI's own tree, which may be read-only. It stays open, so it is never on the volume.
        f"--database-url=sqlite:///{folders.base / 'comfyui.db'}",
        *(("--cpu",) if device == "cpu" else ()),
        *installation.arguments,
    )
