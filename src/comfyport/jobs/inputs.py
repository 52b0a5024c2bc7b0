"""Hands a job's pictures to ComfyUI."""

import base64
import binascii

from comfyport.comfyui.client import Client
from comfyport.errors import ComfyUIRefused, InputFailed
from comfyport.jobs.request import ImageInput


async def upload(images: tuple[ImageInput, ...], client: Client) -> None:
    """Puts every picture where the workflow's LoadImage looks. Raises InputFailed with all that went wrong."""
    contents: list[tuple[str, bytes]] = []
    problems: list[str] = []
    for image in images:
        try:
            contents.append((image.name, decode(image.data)))
        except ValueError as error:
            problems.append(f"Error decoding base64 for {image.name}: {error}")
    if not problems:
        for name, content in contents:
            try:
                await client.upload(name, content)
            except ComfyUIRefused as error:
                problems.append(f"Error uploading {name}: {error.message}")
    if problems:
        raise InputFailed(problems)


def decode(data: str) -> bytes:
    """The bytes of base64 text, with or without `data:…;base64,` before it. Raises ValueError."""
    text = data.split(",", 1)[1] if data.startswith("data:") and "," in data else data
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
