"""Pictures that a request names by their addresses: fetched once, however many runs look at them."""

import asyncio
import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from comfyport.errors import InputFailed
from comfyport.jobs.inputs import Inputs
from comfyport.jobs.request import InputFile
from comfyport.recipes.runs import Picture, Run


async def with_pictures(runs: list[Run], inputs: Inputs) -> list[Run]:
    """The runs with every picture's content in place of its address. Raises InputFailed."""
    wanted = {picture.content: picture for run in runs for picture in run.pictures if _file(picture).is_address}
    if not wanted:
        return runs
    async with inputs.fetched(tuple(_file(picture) for picture in wanted.values())) as fetched:
        contents = {
            picture.content: await asyncio.to_thread(_content, picture, file.path)
            for picture, file in zip(wanted.values(), fetched, strict=True)
        }
    return [replace(run, pictures=tuple(_in_place(run.pictures, contents))) for run in runs]


def _file(picture: Picture) -> InputFile:
    return InputFile(picture.name, picture.content, must_be_picture=True)


def _in_place(pictures: Iterable[Picture], contents: Mapping[str, str]) -> Iterable[Picture]:
    return (replace(picture, content=contents.get(picture.content, picture.content)) for picture in pictures)


def _content(picture: Picture, file: Path) -> str:
    if file.stat().st_size > picture.most_bytes:
        problem = f"Error fetching {picture.name}: it has more than {picture.most_bytes / 1e6:g} MB"
        raise InputFailed([problem])
    return base64.b64encode(file.read_bytes()).decode("ascii")
