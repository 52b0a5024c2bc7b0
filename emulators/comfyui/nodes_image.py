"""The nodes that load, make, change and save images: done for real, with Pillow."""

# ruff: noqa: D102 - what the methods of a node do is said in `Node`

import hashlib
import json
import mimetypes
import os
import random
from typing import Any, ClassVar

from PIL import Image, ImageOps, ImageSequence

from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Declaration, Inputs, Node, Outcome, Run, by_name
from emulators.comfyui.picture import Picture, band_from_bytes, compute
from emulators.comfyui.resample import METHODS, crop_to_aspect, resize
from emulators.comfyui.saving import SavePlace, metadata_of, save_pngs

LARGEST = 16384
"""ComfyUI's MAX_RESOLUTION, in pixels."""

HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
EXIF_MODEL, EXIF_MAKE = 0x0110, 0x010F


def size_input(least: int, **more: Any) -> list[Any]:
    """The declaration of a width or a height in pixels."""
    return ["INT", {"default": 512, "min": least, "max": LARGEST, "step": 1, **more}]


class LoadImage(Node):
    """Reads an image of the input folder; its alpha becomes the mask."""

    name, display_name, category = "LoadImage", "Load Image", "image"
    output = ("IMAGE", "MASK")
    self_checked = frozenset({"image"})

    def inputs(self, folders: Folders) -> Declaration:
        files = sorted(entry.name for entry in os.scandir(folders.input) if entry.is_file())
        images = [file for file in files if (mimetypes.guess_type(file)[0] or "").startswith("image/")]
        return {"required": {"image": [images, {"image_upload": True}]}}

    def check(self, inputs: Inputs, folders: Folders) -> str | None:
        if folders.input_file(inputs["image"]).exists():
            return None
        return f"Invalid image file: {inputs['image']}"

    def fingerprint(self, inputs: Inputs, folders: Folders) -> str | None:
        return hashlib.sha256(folders.input_file(inputs["image"]).read_bytes()).hexdigest()

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        with Image.open(run.folders.input_file(inputs["image"])) as file:
            frames = [ImageOps.exif_transpose(frame) for frame in ImageSequence.Iterator(file)]
            if file.format == "MPO":
                frames = frames[:1]
        alike = [frame for frame in frames if frame.size == frames[0].size]
        return Outcome((Picture.from_images(_eight_bit(frame) for frame in alike), [_mask(f) for f in alike]))


def _eight_bit(image: Image.Image) -> Image.Image:
    return image.point(lambda pixel: pixel * (1 / 255)) if image.mode == "I" else image


def _mask(image: Image.Image) -> Image.Image:
    """1 where the image is transparent; 64 x 64 zeros if it has no alpha."""
    if "A" in image.getbands():
        alpha = image.getchannel("A")
    elif image.mode == "P" and "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    else:
        return Image.new("F", (64, 64))
    return compute(lambda pixel: 1.0 - pixel["alpha"], alpha=band_from_bytes(alpha))


class EmptyImage(Node):
    """A batch of one colour, given as 0xRRGGBB."""

    name, display_name, category = "EmptyImage", "EmptyImage", "image"
    output = ("IMAGE",)

    def inputs(self, folders: Folders) -> Declaration:
        color = {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}
        return {
            "required": {
                "width": size_input(1),
                "height": size_input(1),
                "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
                "color": ["INT", color],
            }
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        size, color = (inputs["width"], inputs["height"]), inputs["color"]
        red, green, blue = (Image.new("F", size, (color >> shift & 0xFF) / 0xFF) for shift in (16, 8, 0))
        return Outcome((Picture(((red, green, blue),) * inputs["batch_size"]),))


class ImageScale(Node):
    """Resizes to a width and a height; 0 for one of them keeps the aspect."""

    name, display_name, category = "ImageScale", "Upscale Image", "image/upscaling"
    output = ("IMAGE",)

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "image": ["IMAGE"],
                "upscale_method": [list(METHODS)],
                "width": size_input(0),
                "height": size_input(0),
                "crop": [["disabled", "center"]],
            }
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        picture: Picture = inputs["image"]
        width, height = inputs["width"], inputs["height"]
        if width == 0 and height == 0:
            return Outcome((picture,))
        old_width, old_height = picture.size
        width = width or max(1, round(old_width * height / old_height))
        height = height or max(1, round(old_height * width / old_width))
        if inputs["crop"] == "center":
            picture = crop_to_aspect(picture, width, height)
        return Outcome((resize(picture, width, height, inputs["upscale_method"]),))


class ImageScaleBy(Node):
    """Resizes by a factor."""

    name, display_name, category = "ImageScaleBy", "Upscale Image By", "image/upscaling"
    output = ("IMAGE",)

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "image": ["IMAGE"],
                "upscale_method": [list(METHODS)],
                "scale_by": ["FLOAT", {"default": 1.0, "min": 0.01, "max": 8.0, "step": 0.01}],
            }
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        width, height = (round(length * inputs["scale_by"]) for length in inputs["image"].size)
        return Outcome((resize(inputs["image"], width, height, inputs["upscale_method"]),))


class ImageInvert(Node):
    """The negative."""

    name, display_name, category = "ImageInvert", "Invert Image", "image"
    output = ("IMAGE",)

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"image": ["IMAGE"]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        negative = inputs["image"].each_band(lambda band: compute(lambda pixel: 1.0 - pixel["band"], band=band))
        return Outcome((negative,))


class ImageBatch(Node):
    """Two batches as one; the second takes the size of the first."""

    name, display_name, category = "ImageBatch", "Batch Images", "image"
    output = ("IMAGE",)

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"image1": ["IMAGE"], "image2": ["IMAGE"]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        first, second = inputs["image1"], inputs["image2"]
        if second.size != first.size:
            second = resize(crop_to_aspect(second, *first.size), first.size[0], first.size[1], "bilinear")
        return Outcome((Picture(first.frames + second.frames),))


class SaveImage(Node):
    """Writes PNG files into the output folder."""

    name, display_name, category = "SaveImage", "Save Image", "image"
    output_node = True

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "images": ["IMAGE", {}],
                "filename_prefix": ["STRING", {"default": "ComfyUI"}],
            },
            "hidden": HIDDEN,
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome(shown={"images": save_pngs(run, inputs, inputs["filename_prefix"], "output", 4)})


class PreviewImage(Node):
    """Writes PNG files into the temp folder, under a name that lasts as long as the node does."""

    name, display_name, category = "PreviewImage", "Preview Image", "image"
    output_node = True

    def __init__(self) -> None:
        self.prefix = "ComfyUI_temp_" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=5))

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"images": ["IMAGE"]}, "hidden": HIDDEN}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome(shown={"images": save_pngs(run, inputs, self.prefix, "temp", 1)})


class SaveAnimatedWEBP(Node):
    """Writes a batch as one animated WebP into the output folder."""

    name, display_name, category = "SaveAnimatedWEBP", "SaveAnimatedWEBP", "image/animation"
    module = "comfy_extras.nodes_images"
    output_node = True
    methods: ClassVar[dict[str, int]] = {"default": 4, "fastest": 0, "slowest": 6}

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "images": ["IMAGE"],
                "filename_prefix": ["STRING", {"default": "ComfyUI"}],
                "fps": ["FLOAT", {"default": 6.0, "min": 0.01, "max": 1000.0, "step": 0.01}],
                "lossless": ["BOOLEAN", {"default": True}],
                "quality": ["INT", {"default": 80, "min": 0, "max": 100}],
                "method": [list(self.methods)],
            },
            "hidden": HIDDEN,
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        place = SavePlace(inputs["filename_prefix"], run.folders.output, inputs["images"].size)
        first, *others = inputs["images"].images()
        exif = first.getexif()
        if not run.settings.disable_metadata:
            tags = [EXIF_MODEL, *range(EXIF_MAKE, 0, -1)]
            for tag, (name, value) in zip(tags, metadata_of(inputs).items(), strict=False):
                exif[tag] = f"{name}:{json.dumps(value)}"
        file = place.next_file(".webp")
        first.save(
            place.folder / file, save_all=True, append_images=others, exif=exif,
            duration=int(1000 / inputs["fps"]), lossless=inputs["lossless"],
            quality=inputs["quality"], method=self.methods[inputs["method"]],
        )  # fmt: skip
        saved = {"filename": file, "subfolder": place.subfolder, "type": "output"}
        return Outcome(shown={"images": [saved], "animated": [bool(others)]})


class PreviewAny(Node):
    """Shows any value as text."""

    name, display_name, category = "PreviewAny", "Preview Any", "utils"
    module = "comfy_extras.nodes_preview_any"
    output_node = True

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"source": ["*", {}]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        source = inputs.get("source")
        text = json.dumps(source) if isinstance(source, dict | list) else str(source)
        return Outcome(shown={"text": [text]})


NODES = by_name(
    [
        LoadImage, EmptyImage, ImageScale, ImageScaleBy, ImageInvert, ImageBatch,
        SaveImage, PreviewImage, SaveAnimatedWEBP, PreviewAny,
    ]
)  # fmt: skip
