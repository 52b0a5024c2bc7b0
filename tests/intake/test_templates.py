"""Workflows of ComfyUI's own gallery, as its package has them: each model is resolved, or named with a reason."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from comfyport.intake.reading import read
from comfyport.intake.settle import Clerk, Settled, Unresolved
from comfyport.models.access import Access
from comfyport.models.lock import HuggingFaceSource
from comfyport.models.resolve import Resolver
from emulators.hub import HubEmulator, Repo, SparseContent
from tests.cli.models import entries, models

TEMPLATES = Path(str(files("comfyui_workflow_templates_json"))) / "templates"
ADDRESS = re.compile(r"https://huggingface\.co/(?P<repo>[^/\"\s]+/[^/\"\s]+)/resolve/main/(?P<file>[^\"\s)?\\>\]]+)")
COMMIT = "5ca1ab1e" * 5

# What each needs by the nodes that run, as the editor shows it.
NEEDED = {
    "sdxl_simple_example": {
        "checkpoints/sd_xl_base_1.0.safetensors",
        "checkpoints/sd_xl_refiner_1.0.safetensors",
    },
    "flux_schnell": {"checkpoints/flux1-schnell-fp8.safetensors"},
    "flux_redux_model_example": {
        "diffusion_models/flux1-dev.safetensors",
        "text_encoders/t5xxl_fp16.safetensors",
        "text_encoders/clip_l.safetensors",
        "vae/ae.safetensors",
        "style_models/flux1-redux-dev.safetensors",
        "clip_vision/sigclip_vision_patch14_384.safetensors",
    },
    # Seven subgraphs, one within another.
    "flux1_dev_uso_reference_image_gen": {
        "checkpoints/flux1-dev-fp8.safetensors",
        "clip_vision/sigclip_vision_patch14_384.safetensors",
        "model_patches/uso-flux1-projector-v1.safetensors",
        "loras/uso-flux1-dit-lora-v1.safetensors",
    },
    "image_qwen_image_edit_2511": {
        "vae/qwen_image_vae.safetensors",
        "loras/Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors",
        "diffusion_models/qwen_image_edit_2511_fp8mixed.safetensors",
        "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
    },
    # A LoRA in it is bypassed.
    "image_qwen_image_instantx_inpainting_controlnet": {
        "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
        "controlnet/Qwen-Image-InstantX-ControlNet-Inpainting.safetensors",
        "vae/qwen_image_vae.safetensors",
    },
    "video_wan2_2_14B_i2v": {
        "vae/wan_2.1_vae.safetensors",
        "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        "diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
        "diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
        "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
        "loras/wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
    },
    # It says the sha256 of each.
    "hidream_e1_full": {
        "diffusion_models/hidream_e1_full_bf16.safetensors",
        "text_encoders/clip_g_hidream.safetensors",
        "text_encoders/clip_l_hidream.safetensors",
        "text_encoders/t5xxl_fp8_e4m3fn_scaled.safetensors",
        "text_encoders/llama_3.1_8b_instruct_fp8_scaled.safetensors",
        "vae/ae.safetensors",
    },
    "audio_stable_audio_example": {
        "checkpoints/stable-audio-open-1.0.safetensors",
        "text_encoders/t5-base.safetensors",
    },
    "utility-gan_upscaler": {"upscale_models/RealESRGAN_x4plus.safetensors"},
    # Folders that ComfyUI 0.3.64 does not know by name, and one file for three nodes.
    "video_ltx2_3_ic_lora": {
        "checkpoints/ltx-2.3-22b-distilled-fp8.safetensors",
        "text_encoders/gemma_3_12B_it_fp4_mixed.safetensors",
        "loras/ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors",
        "loras/gemma-3-12b-it-abliterated_lora_rank64_bf16.safetensors",
        "geometry_estimation/moge_2_vitl_normal_fp16.safetensors",
    },
}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubEmulator]:
    """A Hub with every file that these templates name: small, but with the sha256 that a template says."""
    repos: dict[str, dict[str, SparseContent]] = defaultdict(dict)
    for name in NEEDED:
        text = (TEMPLATES / f"{name}.json").read_text(encoding="utf-8")
        digests = dict(_digests(json.loads(text)))
        for number, found in enumerate(ADDRESS.finditer(text)):
            content = SparseContent(1000 + number, sha256=digests.get(found[0]))
            repos[found["repo"]].setdefault(found["file"], content)
    with HubEmulator({name: Repo(held, revision=COMMIT) for name, held in repos.items()}) as emulator:
        yield emulator


def asked(template: str, hub: HubEmulator) -> list[Settled | Unresolved]:
    access = Access(hub.url)
    clerk = Clerk(access, Resolver(access, wait=wait_none()), locked=(), known=())
    return clerk.settle(read(TEMPLATES / f"{template}.json").wanted)


@pytest.mark.parametrize("template", NEEDED)
def test_every_model_of_a_template_is_pinned(template: str, hub: HubEmulator):
    entries = [answer.entry for answer in asked(template, hub) if isinstance(answer, Settled)]

    assert {entry.path for entry in entries} == NEEDED[template]
    for entry in entries:
        [source] = entry.sources
        assert isinstance(source, HuggingFaceSource)
        assert source.revision == COMMIT
        assert entry.sha256


@pytest.mark.parametrize("template", NEEDED)
def test_every_model_that_the_hub_does_not_have_is_named_with_a_reason(template: str):
    with HubEmulator() as empty:
        left = [answer for answer in asked(template, empty) if isinstance(answer, Unresolved)]

    assert {answer.wanted.shown for answer in left} == NEEDED[template]
    for answer in left:
        assert "there is no such repository" in answer.reason
        assert answer.wanted.nodes


def test_the_command_pins_them_in_a_lock(hub: HubEmulator, tmp_path: Path):
    template = "flux1_dev_uso_reference_image_gen"

    answer = models(tmp_path, "import", str(TEMPLATES / f"{template}.json"), HF_ENDPOINT=hub.url)

    assert answer.status == 0, answer.err
    assert {f"{entry['directory']}/{entry['name']}" for entry in entries(tmp_path)} == NEEDED[template]


def test_every_template_tells_folder_and_address_of_all_that_it_needs():
    saved = [file for file in TEMPLATES.glob("*.json") if not file.name.startswith(("api_", "index", "fuse_options"))]

    unclear = [
        (file.name, wanted.shown)
        for file in saved
        for wanted in read(file).wanted
        if not wanted.directory or not wanted.addresses
    ]

    assert len(saved) > 250
    assert unclear == []


def _digests(value: Any) -> Iterator[tuple[str, str]]:
    """The sha256 that a template says of an address, wherever in it."""
    if isinstance(value, dict):
        if isinstance(value.get("url"), str) and value.get("hash_type") == "SHA256":
            yield value["url"], value["hash"]
        for inner in value.values():
            yield from _digests(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _digests(inner)
