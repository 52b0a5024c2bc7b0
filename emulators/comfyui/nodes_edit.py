"""The nodes that Qwen-Image-Edit takes: its files one by one, a picture to start from, and a prompt with pictures."""

# ruff: noqa: D102 - what the methods of a node do is said in `Node`

import hashlib
import math
from typing import ClassVar

from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Declaration, Inputs, Node, Outcome, Run, by_name
from emulators.comfyui.nodes_models import Conditioning, Latent, Weights, load
from emulators.comfyui.picture import Picture
from emulators.comfyui.resample import METHODS, resize

TEXT_ENCODERS = [
    "stable_diffusion", "stable_cascade", "sd3", "stable_audio", "mochi", "ltxv", "pixart", "cosmos", "lumina2",
    "wan", "hidream", "chroma", "ace", "omnigen2", "qwen_image", "hunyuan_image",
]  # fmt: skip
MEGAPIXEL = 1024 * 1024
LATENT_PIXELS = 8


def digest(picture: Picture) -> str:
    """Tells one picture from another."""
    seen = hashlib.sha256()
    for image in picture.images():
        seen.update(image.tobytes())
    return seen.hexdigest()[:16]


class UNETLoader(Node):
    """Opens a diffusion model."""

    name, display_name, category = "UNETLoader", "Load Diffusion Model", "advanced/loaders"
    output = ("MODEL",)

    def inputs(self, folders: Folders) -> Declaration:
        kinds = ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]
        return {"required": {"unet_name": [folders.list("diffusion_models")], "weight_dtype": [kinds]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((load(run.folders, "diffusion_models", inputs["unet_name"]),))


class CLIPLoader(Node):
    """Opens a text encoder."""

    name, display_name, category = "CLIPLoader", "Load CLIP", "advanced/loaders"
    output = ("CLIP",)

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {"clip_name": [folders.list("text_encoders")], "type": [TEXT_ENCODERS]},
            "optional": {"device": [["default", "cpu"], {"advanced": True}]},
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((load(run.folders, "text_encoders", inputs["clip_name"]),))


class VAELoader(Node):
    """Opens a VAE."""

    name, display_name, category = "VAELoader", "Load VAE", "loaders"
    output = ("VAE",)

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"vae_name": [[*folders.list("vae"), "pixel_space"]]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((load(run.folders, "vae", inputs["vae_name"]),))


class VAEEncode(Node):
    """A latent that remembers its picture."""

    name, display_name, category = "VAEEncode", "VAE Encode", "latent"
    output = ("LATENT",)

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"pixels": ["IMAGE"], "vae": ["VAE"]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        picture: Picture = inputs["pixels"]
        width, height = (length // LATENT_PIXELS * LATENT_PIXELS for length in picture.size)
        return Outcome((Latent(width, height, len(picture.frames), digest(picture)),))


class ModelSamplingAuraFlow(Node):
    """Remembers the shift."""

    name, display_name, category = "ModelSamplingAuraFlow", "ModelSamplingAuraFlow", "advanced/model"
    module = "comfy_extras.nodes_model_advanced"
    output = ("MODEL",)

    def inputs(self, folders: Folders) -> Declaration:
        shift = {"default": 1.73, "min": 0.0, "max": 100.0, "step": 0.01}
        return {"required": {"model": ["MODEL"], "shift": ["FLOAT", shift]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((Weights(f"{inputs['model'].recipe} shift {inputs['shift']}"),))


class CFGNorm(Node):
    """Remembers the strength."""

    name, display_name, category = "CFGNorm", None, "advanced/guidance"
    module = "comfy_extras.nodes_cfg"
    output: ClassVar[tuple[str, ...]] = ("MODEL",)
    modern = True
    output_names = ("patched_model",)
    experimental = True

    def inputs(self, folders: Folders) -> Declaration:
        strength = {"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.01}
        return {"required": {"model": ["MODEL"], "strength": ["FLOAT", strength]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((Weights(f"{inputs['model'].recipe} norm {inputs['strength']}"),))


class TextEncodeQwenImageEditPlus(Node):
    """Remembers the text and up to three pictures."""

    name: ClassVar[str] = "TextEncodeQwenImageEditPlus"
    display_name, category = None, "advanced/conditioning"
    module = "comfy_extras.nodes_qwen"
    output = ("CONDITIONING",)
    modern = True
    pictures: ClassVar[tuple[str, ...]] = ("image1", "image2", "image3")

    def inputs(self, folders: Folders) -> Declaration:
        text = {"multiline": True, "dynamicPrompts": True}
        return {
            "required": {"clip": ["CLIP"], "prompt": ["STRING", text]},
            "optional": {"vae": ["VAE"], **{name: ["IMAGE"] for name in self.pictures}},
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        seen = [digest(inputs[name]) for name in self.pictures if inputs.get(name) is not None]
        return Outcome((Conditioning(f"{inputs['clip'].recipe} {' '.join(seen)}: {inputs['prompt']}"),))


class TextEncodeQwenImageEdit(TextEncodeQwenImageEditPlus):
    """Remembers the text and a picture."""

    name = "TextEncodeQwenImageEdit"
    pictures = ("image",)


class ImageScaleToTotalPixels(Node):
    """Resizes to so many pixels, the aspect kept."""

    name, display_name, category = "ImageScaleToTotalPixels", None, "image/upscaling"
    module = "comfy_extras.nodes_post_processing"
    output = ("IMAGE",)
    modern = True

    def inputs(self, folders: Folders) -> Declaration:
        size = {"default": 1.0, "min": 0.01, "max": 16.0, "step": 0.01}
        return {
            "required": {"image": ["IMAGE"], "upscale_method": [list(METHODS)], "megapixels": ["FLOAT", size]},
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        picture: Picture = inputs["image"]
        width, height = picture.size
        factor = math.sqrt(int(inputs["megapixels"] * MEGAPIXEL) / (width * height))
        return Outcome((resize(picture, round(width * factor), round(height * factor), inputs["upscale_method"]),))


NODES = by_name(
    [
        UNETLoader, CLIPLoader, VAELoader, VAEEncode, ModelSamplingAuraFlow, CFGNorm, TextEncodeQwenImageEdit,
        TextEncodeQwenImageEditPlus, ImageScaleToTotalPixels,
    ]
)  # fmt: skip
