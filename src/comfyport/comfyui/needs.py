"""Which model files a workflow names, and in which folder below `models/` ComfyUI looks for each."""

import ntpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.workflow import Workflow

# What ComfyUI takes for weights (its folder_paths.py), and the common custom nodes beside it.
MODEL_SUFFIXES = (
    ".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx", ".torchscript"
)  # fmt: skip
# The inputs of ComfyUI's own loaders (nodes.py and comfy_extras, v0.3.64); custom nodes mostly keep to their names.
_FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "photomaker_model_name": "photomaker",
    "audio_encoder_name": "audio_encoders",
    "CLIPLoader.clip_name": "text_encoders",
    "CLIPVisionLoader.clip_name": "clip_vision",
    "UpscaleModelLoader.model_name": "upscale_models",
    "ModelPatchLoader.name": "model_patches",
}
# Folders that ComfyUI looks through as if they were another one (folder_paths.py).
_OTHER_NAMES = {"unet": "diffusion_models", "clip": "text_encoders", "t2i_adapter": "controlnet"}
# A prompt names textual inversions this way, with or without a suffix (comfy/sd1_clip.py).
_EMBEDDING = re.compile(r"embedding:([^\s,()\[\]:]+)")
# Longer texts are no paths.
_LONGEST_PATH = 1024


@dataclass(frozen=True)
class ModelFile:
    """A file by the name that a workflow gives it, with `/`; `folder` is empty where it cannot be told."""

    folder: str
    name: str

    @property
    def base_name(self) -> str:
        """The name without folders."""
        return self.name.rsplit("/", 1)[-1]

    def is_meant_by(self, directory: str, name: str) -> bool:
        """Whether the file `name` in `models/<directory>` can be this one."""
        path = f"{directory}/{name}"
        if self.folder == "embeddings" and "." not in self.base_name:
            path = ntpath.splitext(path)[0]
        return path.endswith(f"/{self.name}")

    def lies_in(self, directory: str) -> bool:
        """Whether `models/<directory>` is, or is below, the folder in which ComfyUI looks for it."""
        return bool(self.folder) and _main_name(directory) == _main_name(self.folder)


def folder_of(class_type: str, input_name: str) -> str:
    """The folder in which a loader looks for the file that one of its inputs names; empty if that is not known."""
    return _FOLDERS.get(f"{class_type}.{input_name}") or _FOLDERS.get(input_name, "")


def is_model_file(value: Any) -> bool:
    """Whether a value looks like the name of a model's file."""
    return isinstance(value, str) and value.lower().endswith(MODEL_SUFFIXES) and "\n" not in value


def model_files(workflow: Workflow) -> frozenset[ModelFile]:
    """All that may name a model's file. Most of it will be other texts: compare it with what there is."""
    return frozenset(_model_files(workflow))


def embeddings(text: str) -> list[ModelFile]:
    """The textual inversions that a prompt names."""
    return [ModelFile("embeddings", name) for name in _EMBEDDING.findall(text)]


def texts(value: Any) -> Iterator[str]:
    """A text, or those in an object of a widget that takes several (`{"on": true, "lora": "a.safetensors"}`)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (part for part in value.values() if isinstance(part, str))


def _model_files(workflow: Workflow) -> Iterator[ModelFile]:
    for node in workflow.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for key, value in inputs.items() if isinstance(inputs, dict) else ():
            for text in texts(value):
                yield from embeddings(text)
                if text and "\n" not in text and len(text) <= _LONGEST_PATH:
                    yield ModelFile(folder_of(str(node.get("class_type")), str(key)), plain(text))


def _main_name(directory: str) -> str:
    top = directory.split("/")[0]
    return _OTHER_NAMES.get(top, top)


def plain(name: str) -> str:
    """A file's name with the separators of this system, whatever the workflow was saved on."""
    return name.replace("\\", "/").removeprefix("./")
