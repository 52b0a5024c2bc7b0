"""Every node that the emulator has, by the name that a workflow's `class_type` holds."""

from emulators.comfyui import nodes_edit, nodes_image, nodes_media, nodes_models
from emulators.comfyui.node import Node

NODES: dict[str, type[Node]] = {**nodes_image.NODES, **nodes_media.NODES, **nodes_models.NODES, **nodes_edit.NODES}
