"""Which files a workflow may name, and which file of the lock is meant by one of them."""

from typing import Any

import pytest

from comfyport.comfyui.needs import ModelFile, model_files
from tests.workflows import node


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (node("CheckpointLoaderSimple", ckpt_name="a.ckpt"), ModelFile("checkpoints", "a.ckpt")),
        (node("CLIPLoader", clip_name="a.ckpt"), ModelFile("text_encoders", "a.ckpt")),
        (node("CLIPVisionLoader", clip_name="a.ckpt"), ModelFile("clip_vision", "a.ckpt")),
        (node("SomeLoader", model="SDXL\\sub\\a.ckpt"), ModelFile("", "SDXL/sub/a.ckpt")),
        (node("PowerLoraLoader", lora_1={"on": True, "lora": "a.ckpt"}), ModelFile("", "a.ckpt")),
        (node("CLIPTextEncode", text="a cat,\n(embedding:bad/hands:1.2)"), ModelFile("embeddings", "bad/hands")),
        (node("CLIPTextEncode", text="embedding:hands.pt, a cat"), ModelFile("embeddings", "hands.pt")),
    ],
)
def test_a_workflow_names_a_file(given: dict[str, Any], file: ModelFile):
    assert file in model_files({"1": given})


@pytest.mark.parametrize("given", [None, "text", {}, {"inputs": None}, {"inputs": []}, {"inputs": {"a": ["1", 0]}}])
def test_what_is_no_node_names_nothing(given: Any):
    assert not model_files({"1": given})


@pytest.mark.parametrize(
    ("file", "directory", "name", "is_meant"),
    [
        (ModelFile("", "a.ckpt"), "checkpoints", "a.ckpt", True),
        (ModelFile("", "a.ckpt"), "checkpoints", "aa.ckpt", False),
        (ModelFile("", "sub/a.ckpt"), "checkpoints", "sub/a.ckpt", True),
        (ModelFile("", "sub/a.ckpt"), "checkpoints/sub", "a.ckpt", True),
        (ModelFile("", "sub/a.ckpt"), "checkpoints", "a.ckpt", False),
        (ModelFile("", "ckpt"), "checkpoints", "a.ckpt", False),
        (ModelFile("embeddings", "hands"), "embeddings", "hands.safetensors", True),
        (ModelFile("embeddings", "hands.pt"), "embeddings", "hands.pt", True),
        (ModelFile("embeddings", "hands"), "embeddings", "more-hands.pt", False),
    ],
)
def test_a_file_is_meant_by_its_whole_name(file: ModelFile, directory: str, name: str, is_meant: bool):
    assert file.is_meant_by(directory, name) == is_meant


@pytest.mark.parametrize("directory", ["diffusion_models", "unet", "diffusion_models/flux"])
def test_a_folder_counts_under_all_its_names(directory: str):
    assert ModelFile("diffusion_models", "a").lies_in(directory)
    assert not ModelFile("vae", "a").lies_in(directory)
    assert not ModelFile("", "a").lies_in(directory)
