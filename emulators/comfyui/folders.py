"""Where models, inputs and outputs lie, and which files they hold: ComfyUI's `folder_paths`."""

import logging
import os
from pathlib import Path
from typing import Any

import yaml

logger = logging.getLogger(__name__)

WEIGHTS = frozenset({".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"})
ANY_FILE: frozenset[str] = frozenset()

MODEL_FOLDERS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "checkpoints": (("checkpoints",), WEIGHTS),
    "configs": (("configs",), frozenset({".yaml"})),
    "loras": (("loras",), WEIGHTS),
    "vae": (("vae",), WEIGHTS),
    "text_encoders": (("text_encoders", "clip"), WEIGHTS),
    "diffusion_models": (("unet", "diffusion_models"), WEIGHTS),
    "clip_vision": (("clip_vision",), WEIGHTS),
    "style_models": (("style_models",), WEIGHTS),
    "embeddings": (("embeddings",), WEIGHTS),
    "diffusers": (("diffusers",), frozenset({"folder"})),
    "vae_approx": (("vae_approx",), WEIGHTS),
    "controlnet": (("controlnet", "t2i_adapter"), WEIGHTS),
    "gligen": (("gligen",), WEIGHTS),
    "upscale_models": (("upscale_models",), WEIGHTS),
    "custom_nodes": (("../custom_nodes",), ANY_FILE),
    "hypernetworks": (("hypernetworks",), WEIGHTS),
    "photomaker": (("photomaker",), WEIGHTS),
    "classifiers": (("classifiers",), frozenset({""})),
    "model_patches": (("model_patches",), WEIGHTS),
    "audio_encoders": (("audio_encoders",), WEIGHTS),
}
"""Name -> (folders below `models`, suffixes that count; an empty set means every file)."""

OLD_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}
BELOW_OUTPUT = ("checkpoints", "clip", "vae", "diffusion_models", "loras")


def absolute(path: Path) -> Path:
    """From the root, without `..`. Links are not followed: a folder of models is often a link."""
    return Path(os.path.normpath(Path.cwd() / path))


class Folders:
    """The folders of one ComfyUI. `base` holds models, custom_nodes, input, output and temp."""

    def __init__(
        self,
        base: Path,
        *,
        output: Path | None = None,
        input: Path | None = None,  # noqa: A002 - ComfyUI's own word
        temp: Path | None = None,
        extra_model_paths: tuple[Path, ...] = (),
    ) -> None:
        self.base = absolute(base)
        self.output = absolute(output or self.base / "output")
        self.input = absolute(input or self.base / "input")
        self.temp = absolute((temp or self.base) / "temp")
        self.models: dict[str, tuple[list[str], frozenset[str]]] = {
            name: ([os.path.normpath(self.base / "models" / folder) for folder in folders], suffixes)
            for name, (folders, suffixes) in MODEL_FOLDERS.items()
        }
        for path in extra_model_paths:
            self._add_paths_of(path)
        for name in BELOW_OUTPUT:
            self.add(name, str(self.output / name))
        (self.base / "input").mkdir(parents=True, exist_ok=True)

    def add(self, name: str, folder: str, *, first: bool = False) -> None:
        """Lets `folder` hold models of the kind `name`, which may be a new kind; `first` searches it first."""
        paths, _ = self.models.setdefault(OLD_NAMES.get(name, name), ([], ANY_FILE))
        if first and folder in paths:
            paths.remove(folder)
        if folder not in paths:
            paths.insert(0 if first else len(paths), folder)

    def _add_paths_of(self, config: Path) -> None:
        """Reads an extra-model-paths file: sections with base_path, is_default, and kind -> folders by line."""
        sections: dict[str, dict[str, Any] | None] = yaml.safe_load(config.read_text(encoding="utf-8"))
        beside = absolute(config).parent
        for section in sections.values():
            if section is None:
                continue
            base = beside / Path(os.path.expandvars(section.pop("base_path", None) or "")).expanduser()
            first = bool(section.pop("is_default", False))
            for name, lines in section.items():
                for line in filter(None, lines.split("\n")):
                    folder = str(absolute(base / line))
                    logger.info("Adding extra search path %s %s", name, folder)
                    self.add(name, folder, first=first)

    def list(self, name: str) -> list[str]:
        """The model files of one kind as a workflow names them, sorted, links followed, read anew each time."""
        paths, suffixes = self.models[OLD_NAMES.get(name, name)]
        found: set[str] = set()
        for folder in paths:
            for directory, subfolders, files in os.walk(folder, followlinks=True):
                subfolders[:] = [subfolder for subfolder in subfolders if subfolder != ".git"]
                for file in files:
                    if not suffixes or Path(file).suffix.lower() in suffixes:
                        found.add(os.path.relpath(Path(directory, file), folder))
        return sorted(found)

    def find(self, name: str, file: str) -> Path | None:
        """Where the model `file` of the kind `name` lies; None if there is no such file."""
        paths, _ = self.models.get(OLD_NAMES.get(name, name), ([], ANY_FILE))
        inside = absolute(Path("/", file)).relative_to("/")
        return next((path for folder in paths if (path := Path(folder, inside)).is_file()), None)

    def of_type(self, kind: str | None) -> Path | None:
        """The folder that `type=` names in /view and /upload/image: output, input or temp."""
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(kind or "")

    def annotated(self, name: str) -> tuple[str, Path | None]:
        """Splits `cat.png [output]` into the name and the folder that the annotation names."""
        for kind in ("output", "input", "temp"):
            if name.endswith(f"[{kind}]"):
                return name[: -len(kind) - 3], self.of_type(kind)
        return name, None

    def input_file(self, name: str) -> Path:
        """Where an image that a workflow names should lie: in the input folder unless annotated."""
        bare, folder = self.annotated(name)
        return (folder or self.input) / bare
