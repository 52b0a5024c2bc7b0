"""Naming and writing of output files: prefixes with variables, counters, the prompt as metadata."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo

from emulators.comfyui.folders import absolute
from emulators.comfyui.node import Inputs, Run
from emulators.comfyui.picture import Picture


class SavePlace:
    """Where the next files of one save node go: `folder`, `name`, `counter` and `subfolder`."""

    def __init__(self, prefix: str, output: Path, size: tuple[int, int]) -> None:
        prefix = os.path.normpath(fill_in(prefix, size))
        self.subfolder, self.name = os.path.split(prefix)
        self.folder = absolute(output / self.subfolder)
        if not self.folder.is_relative_to(output):
            common = os.path.commonpath((output, self.folder))
            raise Exception(
                "**** ERROR: Saving image outside the output folder is not allowed."
                f"\n full_output_folder: {self.folder}\n         output_dir: {output}"
                f"\n         commonpath: {common}"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.counter = next_counter(self.folder, self.name)

    def next_file(self, suffix: str, batch_number: int = 0) -> str:
        """The name of the next file, `cat_00001_.png`."""
        name = self.name.replace("%batch_num%", str(batch_number))
        self.counter += 1
        return f"{name}_{self.counter - 1:05}_{suffix}"


def fill_in(prefix: str, size: tuple[int, int]) -> str:
    """Replaces %width%, %height%, %year%, %month%, %day%, %hour%, %minute% and %second%."""
    now = time.localtime()
    known = {
        "width": str(size[0]),
        "height": str(size[1]),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    return re.sub(r"%(\w+)%", lambda found: known.get(found[1], found[0]), prefix)


def next_counter(folder: Path, name: str) -> int:
    """One more than the highest number of the files that begin with `name` and an underscore."""
    taken = [0]
    for file in (path.name for path in folder.iterdir()):
        if file.startswith(f"{name}_"):
            number = file[len(name) + 1 :].split("_")[0]
            taken.append(int(number) if number.isdecimal() else 0)
    return max(taken) + 1


def save_pngs(run: Run, inputs: Inputs, prefix: str, kind: str, compress_level: int) -> list[dict[str, str]]:
    """Writes each frame of `images` as a PNG into the output or temp folder; names the files as /view wants them."""
    output = run.folders.of_type(kind)
    if output is None:
        raise ValueError(f"There is no folder for {kind}.")
    picture: Picture = inputs["images"]
    place = SavePlace(prefix, output, picture.size)
    saved = []
    for number, image in enumerate(picture.images()):
        file = place.next_file(".png", number)
        metadata = None if run.settings.disable_metadata else png_metadata(inputs)
        image.save(place.folder / file, pnginfo=metadata, compress_level=compress_level)
        saved.append({"filename": file, "subfolder": place.subfolder, "type": kind})
    return saved


def png_metadata(inputs: Inputs) -> PngInfo:
    """The prompt and the extra data (the workflow) as text chunks, each as JSON."""
    metadata = PngInfo()
    for name, value in metadata_of(inputs).items():
        metadata.add_text(name, json.dumps(value))
    return metadata


def metadata_of(inputs: Inputs) -> dict[str, Any]:
    """What is written into files: `prompt`, then what `extra_pnginfo` holds."""
    return {"prompt": inputs["prompt"], **(inputs["extra_pnginfo"] or {})}
