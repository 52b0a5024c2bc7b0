"""The listing in RunPod's Hub (https://docs.runpod.io/hub/publishing-guide), its variables made from settings.py.

`python -m scripts.hub_listing > .runpod/hub.json` writes it; a test keeps the two the same. A new setting comes in by
itself, among the advanced ones, unless it is left out here.
"""

import dataclasses
import json
import sys
from typing import Any

from comfyport.environment import Secret
from comfyport.settings import Settings
from scripts.runpod_deploy.wanted import WORKER_ENVIRONMENT

# Shown at once, in this order, under these names; all others are advanced.
FOREMOST = {
    "MODEL_GROUPS": "Model groups",
    "HF_TOKEN": "Hugging Face token",
    "CIVITAI_TOKEN": "Civitai token",
    "COMFYUI_ARGS": "ComfyUI arguments",
    "JOB_TIMEOUT": "Seconds that a job may take",
    "STARTUP_WAIT": "Wait for models",
}
# What nobody sets in the Hub, and why.
LEFT_OUT = {
    "set by the image": ("COMFYPORT_DEVICE", "COMFYUI_DIR", "COMFYUI_PYTHON", "COMFYUI_PORT", "COMFYPORT_CONSTRAINTS"),
    "found on RunPod": ("COMFYPORT_VOLUME", "COMFYPORT_RUN_DIR", "COMFYPORT_STAGING", "HF_HOME"),
    "set by RunPod": ("RUNPOD_WEBHOOK_GET_JOB",),
    "of the HTTP door": (
        *("HOST", "PORT", "COMFYPORT_API_KEY", "CORS_ORIGINS", "WEBHOOK_SECRET"),
        *("QUEUE_SIZE", "QUEUE_BYTES", "BODY_BYTES", "RESULT_SECONDS"),
    ),
    "bounded by RunPod, which kills after 10 s": ("STOP_SECONDS",),
    "for other places": ("COMFYUI_URL", "COMFYPORT_NODES_PROTOCOLS", "MODAL_TASK_ID"),
}
CHOICES = {"STARTUP_WAIT": ("needed", "all"), "LOG_LEVEL": ("debug", "info", "warning", "error")}
# The image says where its lock is.
DEFAULTS = {"COMFYPORT_LOCK": "/models.lock.json"}
# The image's CUDA line and newer; RunPod compares exactly.
CUDA_VERSIONS = ("13.2", "13.1", "13.0")


def document() -> dict[str, Any]:
    """The whole of hub.json."""
    return {
        "title": "comfyport: ComfyUI",
        "description": "ComfyUI as an API in a slim image: it downloads the models that your lock names onto your "
        "network volume, once, and runs any workflow.",
        "type": "serverless",
        "category": "image",
        "config": {
            "runsOn": "GPU",
            "containerDiskInGb": 20,
            "gpuCount": 1,
            "gpuIds": "ADA_24,ADA_48_PRO,AMPERE_48",
            "allowedCudaVersions": list(CUDA_VERSIONS),
            "env": [*({"key": name, "value": value} for name, value in WORKER_ENVIRONMENT.items()), *_inputs()],
        },
    }


def text() -> str:
    """The listing as .runpod/hub.json holds it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _inputs() -> list[dict[str, Any]]:
    fields = {field.metadata["name"]: field for field in dataclasses.fields(Settings)}
    left_out = {name for names in LEFT_OUT.values() for name in names}
    rest = [name for name in fields if name not in left_out and name not in FOREMOST]
    return [{"key": name, "input": _input(fields[name], advanced=name in rest)} for name in (*FOREMOST, *rest)]


def _input(field: "dataclasses.Field[Any]", *, advanced: bool) -> dict[str, Any]:
    """One variable as a person fills it in."""
    name, default = field.metadata["name"], field.default
    shown: dict[str, Any] = {"name": FOREMOST.get(name, name), "type": "string"}
    shown["description"] = field.metadata["meaning"].replace("`", "")
    if isinstance(default, bool):
        shown |= {"type": "boolean", "default": default, "trueValue": "true", "falseValue": "false"}
    elif isinstance(default, int | float):
        shown |= {"type": "number", "default": int(default) if default == int(default) else default}
    else:
        empty = default is None or isinstance(default, Secret | tuple)
        shown["default"] = DEFAULTS.get(name, "" if empty else str(default))
    if name in CHOICES:
        shown["options"] = [{"label": choice, "value": choice} for choice in CHOICES[name]]
    return shown | ({"advanced": True} if advanced else {})


if __name__ == "__main__":
    sys.stdout.write(text())
