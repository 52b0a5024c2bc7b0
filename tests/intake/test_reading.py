"""Reading: which kind a file is, and which models it asks for."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comfyport.errors import UnusableImport
from comfyport.intake.reading import read
from comfyport.intake.wanted import Wanted
from tests import workflows
from tests.comfyui.editor_workflows import node, noted, workflow

SHA256 = "ab" * 32
URL = "https://huggingface.co/o/r/resolve/main/a.safetensors"
SAVED = workflow(node(4, "CheckpointLoaderSimple", "a.safetensors", models=[noted("a.safetensors")]))
API = workflows.sampled("a.safetensors")
OF_SAVED = Wanted("a.safetensors", "checkpoints", (URL,), nodes=("4",))
OF_API = Wanted("a.safetensors", "checkpoints", nodes=("1",))
SNAPSHOT = {
    "comfyui": "0" * 40,
    "models": [
        {"filename": "models/loras/x/a.safetensors", "size": 7, "sha256": SHA256, "disabled": False, "source": {}},
        {"filename": "models/vae/b.safetensors", "size": 7, "sha256": SHA256, "disabled": True},
    ],
}


def written(folder: Path, content: Any) -> Path:
    file = folder / "file"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


def picture(**texts: Any) -> bytes:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, json.dumps(value))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (SAVED, OF_SAVED),
        (API, OF_API),
        ({"prompt": API}, OF_API),
        ({"prompt": API, "extra_data": {"extra_pnginfo": {"workflow": SAVED}}}, OF_SAVED),
        ({"input": {"workflow": API}}, OF_API),
        (picture(workflow=SAVED, prompt=API), OF_SAVED),
        (picture(prompt=API), OF_API),
        (b"\xef\xbb\xbf" + json.dumps(API).encode(), OF_API),
    ],
    ids=["editor", "api", "request", "request of the editor", "job", "picture", "picture of a job", "byte order mark"],
)
def test_a_workflow_is_found_wherever_it_stands(tmp_path: Path, content: Any, wanted: Wanted):
    assert read(written(tmp_path, content)).wanted == (wanted,)


def test_what_is_off_in_a_workflow_is_told(tmp_path: Path):
    saved = workflow(node(4, "LoraLoader", "a.safetensors", 1, 1, mode=4))

    reading = read(written(tmp_path, saved))

    assert (reading.wanted, reading.remarks) == ((), ("a.safetensors is not needed: node 4 is off",))


def test_a_model_list_of_the_manager(tmp_path: Path):
    models = [
        {"name": "A", "type": "upscale", "save_path": "default", "filename": "a.safetensors", "url": URL},
        {"name": "B", "type": "lora", "save_path": "loras/sdxl", "filename": "b.safetensors", "url": URL},
        {"name": "C", "type": "c", "save_path": "custom_nodes/C/models", "filename": "c.pth", "url": URL},
        {"name": "D", "type": "d", "save_path": "d", "filename": "<huggingface>", "url": "o/r"},
    ]

    reading = read(written(tmp_path, {"models": models}))

    assert reading.wanted == (
        Wanted("a.safetensors", "upscale_models", (URL,)),
        Wanted("b.safetensors", "loras/sdxl", (URL,)),
    )
    assert ["custom_nodes/C" in reading.remarks[0], "whole repository" in reading.remarks[1]] == [True, True]


def test_a_lock_of_comfy_cli(tmp_path: Path):
    models = [
        {
            "model": "a.safetensors",
            "url": URL,
            "paths": [{"path": "/home/me/comfy/ComfyUI/models/checkpoints/a.safetensors"}],
            "hash": SHA256.upper(),
            "type": "checkpoint",
        },
        {"model": "b.safetensors", "url": URL, "paths": [], "hash": None, "type": "lora"},
        {"model": "c.safetensors", "url": URL, "paths": [{"path": "models/vae"}], "hash": "abc", "type": None},
    ]
    lock = {"basics": {"name": None, "updated_at": "2026-01-01"}, "models": models, "custom_nodes": []}

    reading = read(written(tmp_path, yaml.safe_dump(lock).encode()))

    assert reading.wanted == (
        Wanted("a.safetensors", "checkpoints", (URL,), SHA256),
        Wanted("b.safetensors", "loras", (URL,)),
        Wanted("c.safetensors", "vae", (URL,)),
    )


def test_a_build_file_of_comfy_cli(tmp_path: Path):
    models = [{"type": "checkpoints", "filename": "a.safetensors", "sourceUri": URL, "sha256": SHA256, "sizeBytes": 7}]

    reading = read(written(tmp_path, {"schema": "comfy-build/1", "definition": {"models": models}}))

    assert reading.wanted == (Wanted("a.safetensors", "checkpoints", (URL,), SHA256, 7),)


@pytest.mark.parametrize("is_packed", [False, True], ids=["snapshot.json", "cpack.zip"])
def test_a_snapshot_of_comfy_pack(tmp_path: Path, is_packed: bool):
    content: Any = SNAPSHOT
    if is_packed:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as pack:
            pack.writestr("snapshot.json", json.dumps(SNAPSHOT))
        content = buffer.getvalue()

    reading = read(written(tmp_path, content))

    assert reading.wanted == (Wanted("a.safetensors", "loras/x", (), SHA256, 7),)
    assert reading.remarks == ("vae/b.safetensors is switched off in the snapshot",)


@pytest.mark.parametrize(
    ("source", "addresses"),
    [
        (
            {"source": "huggingface", "repo": "o/r", "commit": "c0ffee", "path": "a.safetensors", "download_url": "a"},
            ("hf://o/r@c0ffee/a.safetensors",),
        ),
        (
            {
                "source": "civitai",
                "repo": 7,
                "commit": 5,
                "download_url": "https://civitai.com/api/download/models/5",
                "url": "https://civitai.com/models/7?modelVersionId=5",
            },
            ("https://civitai.com/api/download/models/5", "https://civitai.com/models/7?modelVersionId=5"),
        ),
    ],
    ids=["hub", "civitai"],
)
def test_comfy_packs_sources_become_addresses(tmp_path: Path, source: dict[str, Any], addresses: tuple[str, ...]):
    models = [{"filename": "models/vae/a.safetensors", "sha256": SHA256, "source": source}]

    assert read(written(tmp_path, {"models": models})).wanted[0].addresses == addresses


def test_a_list_of_addresses(tmp_path: Path):
    text = f"""# what we need
{URL}
{URL} checkpoints   # a folder
{URL} loras/b.safetensors

civitai:7@5 loras/sdxl
"""

    assert read(written(tmp_path, text.encode())).wanted == (
        Wanted("", "", (URL,)),
        Wanted("", "checkpoints", (URL,)),
        Wanted("b.safetensors", "loras", (URL,)),
        Wanted("", "loras/sdxl", ("civitai:7@5",)),
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "nothing in it"),
        (b"hello", "nothing in it"),
        (b"[1, 2]", "nothing in it"),
        (b'{"models": []}', "nothing in it"),
        (b'{"a": {"b": 1}}', "nothing in it"),
        (b"\x93NUMPY\x01\x00\xff", "neither a text nor a PNG"),
        (picture(), "holds no workflow"),
        (picture(workflow={"a": 1}), "holds no workflow"),
        (picture(workflow=SAVED)[:40], "cannot be read"),
        (b"PK\x03\x04 and then something else", "no package of comfy-pack"),
    ],
)
def test_any_other_file_is_refused_with_what_may_be_named(tmp_path: Path, content: bytes, reason: str):
    with pytest.raises(UnusableImport, match=reason) as refused:
        read(written(tmp_path, content))

    assert "Name a workflow" in refused.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UnusableImport, match="no such file"):
        read(tmp_path / "nothing.json")
