"""What a workflow put out -> the files of the answer."""

import base64
import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.client import Client, Json, StoredFile
from comfyport.errors import ComfyUIRefused, OutputFailed


@dataclass(frozen=True)
class Output:
    """One file that a node put out."""

    node_id: str
    filename: str
    content: bytes

    def as_json(self) -> dict[str, Any]:
        """The item of the answer's `images`: worker-comfyui's `filename`, `type`, `data`, and what is known besides."""
        return {
            "filename": self.filename,
            "type": "base64",
            "data": base64.b64encode(self.content).decode("ascii"),
            "node_id": self.node_id,
            "media_type": mimetypes.guess_type(self.filename)[0] or "application/octet-stream",
            "size": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
        }


async def collect(outputs: dict[str, Json], client: Client) -> list[Output]:
    """Fetches the pictures of all nodes, in ComfyUI's order; previews of the type `temp` are left out.

    Raises OutputFailed.
    """
    return [
        Output(node_id, file.filename, await _content(file, client))
        for node_id, file in _images(outputs)
        if file.type != "temp"
    ]


def _images(outputs: dict[str, Json]) -> Iterator[tuple[str, StoredFile]]:
    for node_id, output in outputs.items():
        for image in output.get("images") or ():
            yield (
                node_id,
                StoredFile(image["filename"], image.get("subfolder", ""), image.get("type", "output")),
            )


async def _content(file: StoredFile, client: Client) -> bytes:
    try:
        return await client.view(file)
    except ComfyUIRefused as error:
        raise OutputFailed(file.filename, error.message) from None
