"""The routes that say what there is: nodes, models, the system; and a page for people."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from emulators.comfyui.folders import Folders
from emulators.comfyui.node import describe
from emulators.comfyui.nodes import NODES
from emulators.comfyui.weights import SafetensorError, read_header

VERSION = "0.3.64"
"""The ComfyUI version that is imitated."""
GPU = "cuda:0 Emulated GPU : cudaMallocAsync"
GPU_MEMORY = 24 * 1024**3
NOT_MODELS = {"configs", "custom_nodes"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ComfyUI emulator</title></head>
<body><h1>The ComfyUI emulator</h1>
<p>This is not ComfyUI but a stand-in that answers like ComfyUI {version}. It runs these nodes:</p>
<ul>{nodes}</ul></body></html>
"""


class InfoRoutes:
    """Each method answers one route."""

    def __init__(self, folders: Folders, features: dict[str, Any], *, cpu: bool, argv: list[str]) -> None:
        self._folders = folders
        self._features = features
        self._cpu = cpu
        self._argv = argv

    def routes(self) -> list[web.RouteDef]:
        """What is to be routed."""
        return [
            web.get("/", self.page),
            web.get("/object_info", self.object_info),
            web.get("/object_info/{node}", self.object_info_of),
            web.get("/models", self.kinds_of_model),
            web.get("/models/{kind}", self.models),
            web.get("/experiment/models", self.model_folders),
            web.get("/embeddings", self.embeddings),
            web.get("/view_metadata/{kind}", self.metadata),
            web.get("/features", self.features),
            web.get("/extensions", self.extensions),
            web.get("/system_stats", self.system_stats),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """Says that this is the emulator."""
        nodes = "".join(f"<li>{name}</li>" for name in NODES)
        return web.Response(text=PAGE.format(version=VERSION, nodes=nodes), content_type="text/html")

    async def object_info(self, request: web.Request) -> web.Response:
        """Every node's inputs and outputs."""
        return web.json_response({name: describe(node(), self._folders) for name, node in NODES.items()})

    async def object_info_of(self, request: web.Request) -> web.Response:
        """One node's inputs and outputs; empty if there is no such node."""
        name = request.match_info["node"]
        return web.json_response({name: describe(NODES[name](), self._folders)} if name in NODES else {})

    async def kinds_of_model(self, request: web.Request) -> web.Response:
        """The model folders by name."""
        return web.json_response(list(self._folders.models))

    async def models(self, request: web.Request) -> web.Response:
        """The files of one model folder."""
        kind = request.match_info["kind"]
        if kind not in self._folders.models:
            return web.Response(status=404)
        return web.json_response(self._folders.list(kind))

    async def model_folders(self, request: web.Request) -> web.Response:
        """Where each kind of model lies."""
        places = [
            {"name": name, "folders": paths}
            for name, (paths, _) in self._folders.models.items()
            if name not in NOT_MODELS
        ]
        return web.json_response(places)

    async def embeddings(self, request: web.Request) -> web.Response:
        """The embeddings, as a prompt names them."""
        return web.json_response([str(Path(file).with_suffix("")) for file in self._folders.list("embeddings")])

    async def metadata(self, request: web.Request) -> web.Response:
        """What a safetensors file says about itself."""
        path = self._folders.find(request.match_info["kind"], request.query.get("filename", ""))
        if path is None or path.suffix != ".safetensors":
            return web.Response(status=404)
        try:
            return web.json_response(read_header(path)["__metadata__"])
        except (SafetensorError, KeyError):
            return web.Response(status=404)

    async def features(self, request: web.Request) -> web.Response:
        """What the server can do."""
        return web.json_response(self._features)

    async def extensions(self, request: web.Request) -> web.Response:
        """The scripts of the user interface, of which there is none."""
        return web.json_response([])

    async def system_stats(self, request: web.Request) -> web.Response:
        """The machine and its device; memory in bytes."""
        total, free = _memory()
        device: dict[str, Any] = {"name": "cpu", "type": "cpu", "index": None}
        device |= {"vram_total": total, "vram_free": free, "torch_vram_total": total, "torch_vram_free": free}
        if not self._cpu:
            device = {"name": GPU, "type": "cuda", "index": 0, "vram_total": GPU_MEMORY, "vram_free": GPU_MEMORY}
            device |= {"torch_vram_total": 0, "torch_vram_free": 0}
        system = {
            "os": os.name,
            "ram_total": total,
            "ram_free": free,
            "comfyui_version": VERSION,
            "required_frontend_version": "1.27.10",
            "installed_templates_version": "0.1.95",
            "required_templates_version": "0.1.95",
            "python_version": sys.version,
            "pytorch_version": "2.8.0+emulator",
            "embedded_python": False,
            "argv": self._argv,
        }
        return web.Response(text=json.dumps({"system": system, "devices": [device]}), content_type="application/json")


def _memory() -> tuple[int, int]:
    """RAM in bytes: all of it, and what is free."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
