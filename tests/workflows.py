"""The workflows that tests send, in API format."""

from typing import Any

Workflow = dict[str, Any]


def scaled(colour: int = 0xFF0000, prefix: str = "scaled") -> Workflow:
    """A picture of one colour, 16 x 8, scaled to 32 x 24; needs no model."""
    return {
        "1": node("EmptyImage", width=16, height=8, batch_size=1, color=colour),
        "2": node("ImageScale", image=["1", 0], upscale_method="nearest-exact", width=32, height=24, crop="disabled"),
        "3": node("SaveImage", images=["2", 0], filename_prefix=prefix),
    }


def inverted(name: str) -> Workflow:
    """An input picture, inverted."""
    return {
        "1": node("LoadImage", image=name),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="inverted"),
    }


def upscaled(model: str, colour: int = 0x808080) -> Workflow:
    """A picture of 8 x 8, four times as large through an upscaler of the volume."""
    return {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=colour),
        "2": node("UpscaleModelLoader", model_name=model),
        "3": node("ImageUpscaleWithModel", upscale_model=["2", 0], image=["1", 0]),
        "4": node("SaveImage", images=["3", 0], filename_prefix="upscaled"),
    }


def sampled(checkpoint: str, seed: int = 1, steps: int = 20) -> Workflow:
    """A text-to-image workflow of 64 x 64."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "2": node("CLIPTextEncode", text="a boat", clip=["1", 1]),
        "3": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "4": node(
            "KSampler",
            seed=seed,
            steps=steps,
            cfg=7.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
            model=["1", 0],
            positive=["2", 0],
            negative=["2", 0],
            latent_image=["3", 0],
        ),
        "5": node("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": node("SaveImage", images=["5", 0], filename_prefix="sampled"),
    }


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a workflow."""
    return {"class_type": class_type, "inputs": inputs}
