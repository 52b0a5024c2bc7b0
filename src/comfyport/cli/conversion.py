"""The ComfyUI that tells how a workflow of the editor is to be read, and the workflow in API format."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from comfyport.comfyui.client import Client
from comfyport.comfyui.conversion import to_api_format
from comfyport.errors import ComfyUIRefused, ComfyUIUnreachable, UsageError
from comfyport.settings import Settings


def converted(workflow: Mapping[str, Any], file: Path, comfyui: str | None) -> dict[str, Any]:
    """A workflow of the editor in API format, as the ComfyUI at `comfyui` reads it; else that of the settings.

    Raises UsageError.
    """
    settings = Settings.load()
    url = (comfyui or settings.comfyui_url or f"http://127.0.0.1:{settings.comfyui_port}").rstrip("/")
    try:
        object_info = asyncio.run(_object_info(url))
    except (ComfyUIUnreachable, ComfyUIRefused):
        raise UsageError(
            f"{file} is in ComfyUI's editor format; to convert it takes a ComfyUI with its nodes, and none answers at "
            f"{url}. Name one with --comfyui, or export the workflow with 'Export (API)' in ComfyUI's menu."
        ) from None
    return to_api_format(workflow, object_info)


async def _object_info(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        return dict(await Client(url, session).object_info())
