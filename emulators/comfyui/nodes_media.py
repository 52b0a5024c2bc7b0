"""The nodes that save video, sound, latents and 3D: what they report is true, what they write is a stand-in.

A file begins as one of its format does and holds the frames as PNG, or nothing; no player plays it. VHS_VideoCombine is
not ComfyUI's own but of the custom nodes VideoHelperSuite, which most video workflows end in; its GIF is a real one.
"""

# ruff: noqa: D102 - what the methods of a node do is said in `Node`

import io
import json
import random
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Declaration, Inputs, Node, Outcome, Run, by_name
from emulators.comfyui.nodes_image import HIDDEN
from emulators.comfyui.picture import Picture
from emulators.comfyui.saving import SavePlace, metadata_of

NO_SIZE = (0, 0)
MP4_BEGIN = b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom"
WEBM_BEGIN = b"\x1a\x45\xdf\xa3"
FLAC_BEGIN = b"fLaC\x80\x00\x00\x22"


@dataclass(frozen=True)
class Video:
    """Frames and how many of them there are in a second."""

    frames: Picture
    fps: float


@dataclass(frozen=True)
class Sound:
    """Silence: its seconds, samples per second, and channels."""

    seconds: float
    rate: int
    channels: int


class CreateVideo(Node):
    """Frames become a video; sound is left out."""

    name, display_name, category = "CreateVideo", "Create Video", "image/video"
    module = "comfy_extras.nodes_video"
    output = ("VIDEO",)
    modern = True

    def inputs(self, folders: Folders) -> Declaration:
        fps = {"default": 30.0, "min": 1.0, "max": 120.0, "step": 1.0}
        return {"required": {"images": ["IMAGE"], "fps": ["FLOAT", fps]}, "optional": {"audio": ["AUDIO"]}}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((Video(inputs["images"], inputs["fps"]),))


class SaveVideo(Node):
    """Writes an MP4 and reports it under `images`."""

    name, display_name, category = "SaveVideo", "Save Video", "image/video"
    module = "comfy_extras.nodes_video"
    output_node = True
    modern = True

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "video": ["VIDEO"],
                "filename_prefix": ["STRING", {"default": "video/ComfyUI"}],
                "format": [["auto", "mp4"], {"default": "auto"}],
                "codec": [["auto", "h264"], {"default": "auto"}],
            },
            "hidden": HIDDEN,
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        frames = inputs["video"].frames
        place = SavePlace(inputs["filename_prefix"], run.folders.output, frames.size)
        saved = _written(place, ".mp4", MP4_BEGIN + _pngs(frames))
        return Outcome(shown={"images": [saved], "animated": [True]})


class SaveWEBM(Node):
    """Writes a WebM and reports it under `images`."""

    name, display_name, category = "SaveWEBM", "SaveWEBM", "image/video"
    module = "comfy_extras.nodes_video"
    output_node = True
    modern = True

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "images": ["IMAGE"],
                "filename_prefix": ["STRING", {"default": "ComfyUI"}],
                "codec": [["vp9", "av1"]],
                "fps": ["FLOAT", {"default": 24.0, "min": 0.01, "max": 1000.0, "step": 0.01}],
                "crf": ["FLOAT", {"default": 32.0, "min": 0, "max": 63.0, "step": 1}],
            },
            "hidden": HIDDEN,
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        place = SavePlace(inputs["filename_prefix"], run.folders.output, inputs["images"].size)
        saved = _written(place, ".webm", WEBM_BEGIN + _pngs(inputs["images"]))
        return Outcome(shown={"images": [saved], "animated": [True]})


class VideoCombine(Node):
    """Writes a GIF, and its first frame as a PNG beside it; reports the GIF under `gifs`."""

    name, display_name, category = "VHS_VideoCombine", "Video Combine", "Video Helper Suite"
    module = "custom_nodes.comfyui-videohelpersuite"
    output = ("VHS_FILENAMES",)
    output_node = True

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "images": ["IMAGE"],
                "frame_rate": ["FLOAT", {"default": 8, "min": 1, "step": 1}],
                "loop_count": ["INT", {"default": 0, "min": 0, "max": 100, "step": 1}],
                "filename_prefix": ["STRING", {"default": "AnimateDiff"}],
                "format": [["image/gif"]],
                "pingpong": ["BOOLEAN", {"default": False}],
                "save_output": ["BOOLEAN", {"default": True}],
            },
            "hidden": HIDDEN,
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        kind = "output" if inputs["save_output"] else "temp"
        folder = run.folders.output if inputs["save_output"] else run.folders.temp
        place = SavePlace(inputs["filename_prefix"], folder, inputs["images"].size)
        first, *others = inputs["images"].images()
        stem = place.next_file("").rstrip("_")
        first.save(place.folder / f"{stem}.png")
        path = place.folder / f"{stem}.gif"
        duration = round(1000 / inputs["frame_rate"])
        first.save(path, save_all=True, append_images=others, duration=duration, loop=inputs["loop_count"])
        saved = {
            "filename": path.name,
            "subfolder": place.subfolder,
            "type": kind,
            "format": inputs["format"],
            "frame_rate": inputs["frame_rate"],
            "workflow": f"{stem}.png",
            "fullpath": str(path),
        }
        return Outcome(((inputs["save_output"], [str(path)]),), {"gifs": [saved]})


class EmptyAudio(Node):
    """Silence."""

    name, display_name, category = "EmptyAudio", "Empty Audio", "audio"
    module = "comfy_extras.nodes_audio"
    output = ("AUDIO",)

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {
                "duration": ["FLOAT", {"default": 60.0, "min": 0.0, "max": 0xFFFFFFFFFFFFFFFF, "step": 0.01}],
                "sample_rate": ["INT", {"default": 44100}],
                "channels": ["INT", {"default": 2, "min": 1, "max": 2}],
            }
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome((Sound(inputs["duration"], inputs["sample_rate"], inputs["channels"]),))


class SaveAudio(Node):
    """Writes a FLAC without sound in it and reports it under `audio`."""

    name, display_name, category = "SaveAudio", "Save Audio (FLAC)", "audio"
    module = "comfy_extras.nodes_audio"
    output_node = True
    kind: ClassVar[str] = "output"

    def inputs(self, folders: Folders) -> Declaration:
        prefix = ["STRING", {"default": "audio/ComfyUI"}]
        return {"required": {"audio": ["AUDIO"], "filename_prefix": prefix}, "hidden": HIDDEN}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        folder = run.folders.output if self.kind == "output" else run.folders.temp
        place = SavePlace(self.prefix(inputs), folder, NO_SIZE)
        saved = _written(place, ".flac", FLAC_BEGIN + _streaminfo(inputs["audio"]))
        return Outcome(shown={"audio": [{**saved, "type": self.kind}]})

    def prefix(self, inputs: Inputs) -> str:
        """What the file's name begins with."""
        return str(inputs["filename_prefix"])


class PreviewAudio(SaveAudio):
    """Writes a FLAC into the temp folder, under a name that lasts as long as the node does."""

    name, display_name = "PreviewAudio", "Preview Audio"
    kind = "temp"

    def __init__(self) -> None:
        self._prefix = "ComfyUI_temp_" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=5))

    def inputs(self, folders: Folders) -> Declaration:
        return {"required": {"audio": ["AUDIO"]}, "hidden": HIDDEN}

    def prefix(self, inputs: Inputs) -> str:
        return self._prefix


class SaveLatent(Node):
    """Writes a latent of zeros and reports it under `latents`."""

    name, display_name, category = "SaveLatent", "SaveLatent", "_for_testing"
    output_node = True

    def inputs(self, folders: Folders) -> Declaration:
        prefix = ["STRING", {"default": "latents/ComfyUI"}]
        return {"required": {"samples": ["LATENT"], "filename_prefix": prefix}, "hidden": HIDDEN}

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        place = SavePlace(inputs["filename_prefix"], run.folders.output, NO_SIZE)
        latent = inputs["samples"]
        shape = [latent.batch_size, 4, latent.height // 8, latent.width // 8]
        metadata = {} if run.settings.disable_metadata else {"prompt": json.dumps(metadata_of(inputs)["prompt"])}
        return Outcome(shown={"latents": [_written(place, ".latent", _tensor_file(shape, metadata))]})


class Preview3D(Node):
    """Shows a file that is there already; reports its path, not a file."""

    name, display_name, category = "Preview3D", "Preview 3D", "3d"
    module = "comfy_extras.nodes_load_3d"
    output_node = True

    def inputs(self, folders: Folders) -> Declaration:
        return {
            "required": {"model_file": ["STRING", {"default": "", "multiline": False}]},
            "optional": {"camera_info": ["LOAD3D_CAMERA", {}]},
        }

    def run(self, run: Run, inputs: Inputs) -> Outcome:
        return Outcome(shown={"result": [inputs["model_file"], inputs.get("camera_info")]})


def _written(place: SavePlace, suffix: str, content: bytes) -> dict[str, str]:
    file = place.next_file(suffix)
    Path(place.folder, file).write_bytes(content)
    return {"filename": file, "subfolder": place.subfolder, "type": "output"}


def _pngs(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    for image in picture.images():
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _streaminfo(sound: Sound) -> bytes:
    """FLAC's STREAMINFO: block and frame sizes, then rate, channels, bits and number of samples; no digest."""
    samples = round(sound.seconds * sound.rate)
    packed = sound.rate << 44 | (sound.channels - 1) << 41 | (24 - 1) << 36 | samples
    return struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)


def _tensor_file(shape: list[int], metadata: dict[str, str]) -> bytes:
    """A safetensors file with one tensor of zeros, and the empty one that marks the format."""
    length = 4
    for side in shape:
        length *= side
    tensors = {
        "latent_tensor": {"dtype": "F32", "shape": shape, "data_offsets": [0, length]},
        "latent_format_version_0": {"dtype": "F32", "shape": [0], "data_offsets": [length, length]},
    }
    header = json.dumps({"__metadata__": metadata, **tensors}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(length)


NODES = by_name(
    [
        CreateVideo, SaveVideo, SaveWEBM, VideoCombine, EmptyAudio, SaveAudio, PreviewAudio, SaveLatent, Preview3D,
    ]
)  # fmt: skip
