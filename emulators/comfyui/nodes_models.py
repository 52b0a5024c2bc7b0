"""The nodes that need weights: the files are looked up and opened, what a model would do is drawn."""

# ruff: noqa: D102 - what the methods of a node do is said in `Node`

import hashlib
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from PIL import Image

from emulators.comfyui.drawing import draw
from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Declaration, Inputs, Node, Outcome, Run, by_name
from emulators.comfyui.nodes_image import LARGEST
from emulators.comfyui.picture import Picture
from emulators.comfyui.resample import resize
from emulators.comfyui.weights import check_weights

SAMPLERS = [
    "euler",
    "euler_cfg_pp",
    "euler_ancestral",
    "euler_ancestral_cfg_pp",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2m",
    "dpmpp_2m_cfg_pp",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun",
    "dpmpp_2m_sde_heun_gpu",
    "dpmpp_3m_sde",
    "dpmpp_3m_sde_gpu",
    "ddpm",
    "lcm",
    "ipndm",
    "ipndm_v",
    "deis",
    "res_multistep",
    "res_multistep_cfg_pp",
    "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp",
    "gradient_estimation",
    "gradient_estimation_cfg_pp",
    "er_sde",
    "seeds_2",
    "seeds_3",
    "sa_solver",
    "sa_solver_pece",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
]
SCHEDULERS = [
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
]

UPSCALE = 4
"""How much larger an upscale model makes a picture; most are 4x."""


@dataclass(frozen=True)
class Weights:
    """A loaded model: what was loaded, with which LoRAs."""

    recipe: str


@dataclass(frozen=True)
class Conditioning:
    """An encoded prompt."""

    recipe: str


@dataclass(frozen=True)
class Latent:
    """A batch of latents: the size of the pictures they decode to, and how they were sampled ("" if not)."""

    width: int
    height: int
    batch_size: int
    recipe: str = ""


def load(folders: Folders, kind: str, name: str) -> Weights:
    """Finds and opens a weight file of the folder `kind`."""
    path = folders.find(kind, name)
    if path is None:
        raise FileNotFoundError(f"Model in folder '{kind}' with filename '{name}' not found.")
    check_weights(path)
    return Weights(f"{kind}/{name}")


STRENGTH: list[Any] = ["FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}]


class CheckpointLoaderSimple(Node):
    """Opens a checkpoint."""

    name, display_name, category = "CheckpointLoaderSimple", "Load Checkpoint", "loaders"
    output = ("MODEL", "CLIP", "VAE")

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"ckpt_name": [folders.list("checkpoints"), {}]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((load(run.folders, "checkpoints", inputs["ckpt_name"]),) * 3)


class LoraLoader(Node):
    """Opens a LoRA and adds it to a model and its text encoder."""

    name, display_name, category = "LoraLoader", "Load LoRA", "loaders"
    output: ClassVar[tuple[str, ...]] = ("MODEL", "CLIP")

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "model": ["MODEL", {}],
                "clip": ["CLIP", {}],
                "lora_name": [folders.list("loras"), {}],
                "strength_model": STRENGTH,
                "strength_clip": STRENGTH,
            }
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        model, clip = inputs["model"], inputs.get("clip")
        strengths = inputs["strength_model"], inputs.get("strength_clip", 0)
        if strengths == (0, 0):
            return Outcome((model, clip))
        lora = load(run.folders, "loras", inputs["lora_name"])
        return Outcome(
            tuple(
                part and Weights(f"{part.recipe}+{lora.recipe}*{strength}")
                for part, strength in zip((model, clip), strengths, strict=True)
            )
        )


class LoraLoaderModelOnly(LoraLoader):
    """Opens a LoRA and adds it to a model."""

    name, display_name = "LoraLoaderModelOnly", "LoraLoaderModelOnly"
    output = ("MODEL",)

    def inputs(self, folders: Folders) -> Declaration:
        lora = [folders.list("loras")]
        return {"required": {"model": ["MODEL"], "lora_name": lora, "strength_model": STRENGTH}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome(super().run(run, inputs).values[:1])


class CLIPTextEncode(Node):
    """Remembers the text."""

    name, display_name, category = "CLIPTextEncode", "CLIP Text Encode (Prompt)", "conditioning"
    output = ("CONDITIONING",)

    def inputs(self, folders: Folders) -> Declaration:
        text = {"multiline": True, "dynamicPrompts": True}
        return {"required": {"text": ["STRING", text], "clip": ["CLIP", {}]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((Conditioning(f"{inputs['clip'].recipe}: {inputs['text']}"),))


class EmptyLatentImage(Node):
    """A batch to sample into."""

    name, display_name, category = "EmptyLatentImage", "Empty Latent Image", "latent"
    output = ("LATENT",)

    def inputs(self, folders: Folders) -> Declaration:
        size = {"default": 512, "min": 16, "max": LARGEST, "step": 8}
        batch = {"default": 1, "min": 1, "max": 4096}
        return {"required": {"width": ["INT", size], "height": ["INT", size], "batch_size": ["INT", batch]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((Latent(inputs["width"] // 8 * 8, inputs["height"] // 8 * 8, inputs["batch_size"]),))


class KSampler(Node):
    """Takes `step_seconds` for each step, reports each, and notes all that the picture depends on."""

    name, display_name, category = "KSampler", "KSampler", "sampling"
    output = ("LATENT",)

    def inputs(self, folders: Folders) -> Declaration:
        seed = {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "control_after_generate": True}
        return {
            "required": {
                "model": ["MODEL", {}],
                "seed": ["INT", seed],
                "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
                "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}],
                "sampler_name": [SAMPLERS, {}],
                "scheduler": [SCHEDULERS, {}],
                "positive": ["CONDITIONING", {}],
                "negative": ["CONDITIONING", {}],
                "latent_image": ["LATENT", {}],
                "denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}],
            }
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        latent: Latent = inputs["latent_image"]
        told = [getattr(value, "recipe", value) for _, value in sorted(inputs.items())]
        sampled = replace(latent, recipe=hashlib.sha256(repr(told).encode()).hexdigest())
        for step in range(1, inputs["steps"] + 1):
            run.wait(run.settings.step_seconds)
            preview = None
            if run.settings.preview:
                size = latent.width // 8, latent.height // 8
                preview = "JPEG", draw(f"{sampled.recipe} 0", size), run.settings.preview_size
            run.report(step, inputs["steps"], preview)
        return Outcome((sampled,))


class VAEDecode(Node):
    """Draws the pictures; a latent that was never sampled is grey."""

    name, display_name, category = "VAEDecode", "VAE Decode", "latent"
    output = ("IMAGE",)

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"samples": ["LATENT", {}], "vae": ["VAE", {}]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        latent: Latent = inputs["samples"]
        size = latent.width, latent.height
        if not latent.recipe:
            return Outcome((Picture.from_images([Image.new("RGB", size, "gray")] * latent.batch_size),))
        frames = (draw(f"{latent.recipe} {number}", size) for number in range(latent.batch_size))
        return Outcome((Picture.from_images(frames),))


class UpscaleModelLoader(Node):
    """Opens an upscale model."""

    name, display_name, category = "UpscaleModelLoader", "Load Upscale Model", "loaders"
    module = "comfy_extras.nodes_upscale_model"
    output = ("UPSCALE_MODEL",)
    modern = True

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"model_name": [folders.list("upscale_models")]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((load(run.folders, "upscale_models", inputs["model_name"]),))


class ImageUpscaleWithModel(Node):
    """Enlarges four times, with Lanczos."""

    name, display_name = "ImageUpscaleWithModel", "Upscale Image (using Model)"
    category = "image/upscaling"
    module = "comfy_extras.nodes_upscale_model"
    output = ("IMAGE",)
    modern = True

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"upscale_model": ["UPSCALE_MODEL"], "image": ["IMAGE"]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        width, height = inputs["image"].size
        larger = resize(inputs["image"], width * UPSCALE, height * UPSCALE, "lanczos")
        run.report(1, 1, None)
        return Outcome((larger,))


NODES = by_name(
    [
        CheckpointLoaderSimple, LoraLoader, LoraLoaderModelOnly, CLIPTextEncode, EmptyLatentImage, KSampler,
        VAEDecode, UpscaleModelLoader, ImageUpscaleWithModel,
    ]
)  # fmt: skip
