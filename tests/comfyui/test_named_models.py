"""The models that a workflow names: from its loaders, their properties, its notes; in both of ComfyUI's formats."""

from typing import Any

import pytest

from comfyport.comfyui.named_models import NamedModel, named_models, switched_off
from comfyport.comfyui.needs import ModelFile
from tests import workflows
from tests.comfyui.editor_workflows import node, noted, subgraph, workflow

ADDRESS = "https://huggingface.co/o/r/resolve/main/a.safetensors"
A = NamedModel(ModelFile("checkpoints", "a.safetensors"), ("1",))


def paths(found: list[NamedModel]) -> list[str]:
    return [f"{model.file.folder}/{model.file.name}" for model in found]


@pytest.mark.parametrize("widgets", [("ckpt_name",), ()], ids=["named inputs", "an old editor"])
def test_a_loader_needs_the_file_that_it_has_chosen(widgets: tuple[str, ...]):
    saved = workflow(node(1, "CheckpointLoaderSimple", "a.safetensors", widgets=widgets))

    assert named_models(saved) == [A]


def test_a_workflow_in_api_format_names_its_files_and_nodes():
    assert named_models(workflows.sampled("sub\\a.safetensors")) == [
        NamedModel(ModelFile("checkpoints", "sub/a.safetensors"), ("1",))
    ]


def test_the_properties_of_a_node_tell_address_folder_and_sha256():
    told = noted("a.safetensors", "latent_upscale_models", hash="AB" * 32, hash_type="SHA256")
    saved = workflow(node(1, "LatentUpscaleModelLoader", "a.safetensors", models=[told]))

    assert named_models(saved) == [
        NamedModel(ModelFile("latent_upscale_models", "a.safetensors"), ("1",), (ADDRESS,), "ab" * 32)
    ]


def test_another_kind_of_hash_is_no_sha256():
    told = noted("a.safetensors", hash="abcd", hash_type="BLAKE3")

    assert named_models(workflow(node(1, "CheckpointLoaderSimple", "a.safetensors", models=[told])))[0].sha256 == ""


def test_properties_of_a_file_that_is_not_chosen_any_more_count_for_nothing():
    saved = workflow(node(1, "CheckpointLoaderSimple", "b.safetensors", models=[noted("a.safetensors")]))

    assert paths(named_models(saved)) == ["checkpoints/b.safetensors"]
    assert named_models(saved)[0].addresses == ()


def test_a_node_whose_widgets_name_no_file_needs_what_its_properties_say():
    saved = workflow(node(1, "DownloadAndLoad", "large", models=[noted("a.safetensors", "sam2")]))

    assert paths(named_models(saved)) == ["sam2/a.safetensors"]


def test_properties_of_another_node_and_of_the_whole_file_tell_an_address_too():
    saved = workflow(
        node(1, "CheckpointLoaderSimple", "a.safetensors"),
        node(2, "VAELoader", "b.safetensors"),
        node(3, "SomethingElse", models=[noted("a.safetensors")], mode=4),
        models=[noted("b.safetensors", "vae")],
    )

    assert [model.addresses for model in named_models(saved)] == [(ADDRESS,), (ADDRESS.replace("a.saf", "b.saf"),)]


@pytest.mark.parametrize(
    "note",
    [
        f"- [a.safetensors]({ADDRESS}) (6.86 GB)",
        f"[`a.safetensors`]({ADDRESS})",
        f"[download]({ADDRESS})",
        f"get it from {ADDRESS}, and restart",
        f'<a href="{ADDRESS}">here</a>',
    ],
)
def test_a_link_in_a_note_tells_an_address(note: str):
    saved = workflow(node(1, "CheckpointLoaderSimple", "a.safetensors"), node(2, "MarkdownNote", note))

    assert [model.addresses for model in named_models(saved)] == [(ADDRESS,)]


def test_a_links_text_tells_the_file_where_its_address_does_not():
    note = "[a.safetensors](https://civitai.com/api/download/models/5)"
    saved = workflow(node(1, "CheckpointLoaderSimple", "a.safetensors"), node(2, "Note", note))

    assert named_models(saved)[0].addresses == ("https://civitai.com/api/download/models/5",)


def test_a_drawing_in_a_note_tells_the_folder_that_the_loader_does_not():
    note = "```\n📂 ComfyUI/\n├── 📂 models/\n│   └── 📂 sams/\n│       └── a.safetensors\n```"
    saved = workflow(node(1, "SomeLoader", "a.safetensors"), node(2, "MarkdownNote", note))

    assert paths(named_models(saved)) == ["sams/a.safetensors"]


def test_an_address_that_ends_in_the_files_name_comes_first():
    other = "https://huggingface.co/o/r/resolve/main/other.safetensors"
    told = {"name": "a.safetensors", "url": other, "directory": "checkpoints"}
    saved = workflow(
        node(1, "CheckpointLoaderSimple", "a.safetensors", models=[told]),
        node(2, "MarkdownNote", f"[a.safetensors]({ADDRESS})"),
    )

    assert named_models(saved)[0].addresses == (ADDRESS, other)


def test_a_file_that_several_nodes_load_is_needed_once():
    saved = workflow(
        node(1, "CheckpointLoaderSimple", "a.safetensors"),
        node(2, "SomeLoader", "a.safetensors"),
        node(3, "VAELoader", "a.safetensors"),
    )

    assert named_models(saved) == [
        NamedModel(ModelFile("checkpoints", "a.safetensors"), ("1", "2")),
        NamedModel(ModelFile("vae", "a.safetensors"), ("3",)),
    ]


@pytest.mark.parametrize("mode", [2, 4], ids=["muted", "bypassed"])
def test_a_node_that_is_off_needs_nothing_and_is_told_of(mode: int):
    saved = workflow(
        node(1, "CheckpointLoaderSimple", "a.safetensors"),
        node(2, "CheckpointLoaderSimple", "a.safetensors", mode=mode),
        node(3, "LoraLoader", "b.safetensors", 1.0, 1.0, mode=mode),
    )

    assert named_models(saved) == [A]
    assert paths(switched_off(saved)) == ["loras/b.safetensors"]


def test_a_lora_that_is_off_in_a_list_is_not_needed():
    loras = [{"on": True, "lora": "a.safetensors"}, {"on": False, "lora": "b.safetensors"}]
    saved = workflow(node(1, "Power Lora Loader (rgthree)", *loras))

    assert paths(named_models(saved)) == ["loras/a.safetensors"]


def test_a_prompt_names_embeddings():
    saved = workflow(node(1, "CLIPTextEncode", "a cat, (embedding:hands:1.2)", widgets=("text",)))

    assert paths(named_models(saved)) == ["embeddings/hands"]


def test_notes_and_primitives_load_nothing():
    saved = workflow(node(1, "Note", "a.safetensors"), node(2, "PrimitiveNode", "a.safetensors", "fixed"))

    assert named_models(saved) == []


# Subgraphs


def test_the_nodes_within_a_subgraph_need_their_files():
    loader = node(5, "CheckpointLoaderSimple", "a.safetensors", models=[noted("a.safetensors")])
    saved = workflow(node(1, "S"), subgraphs=(subgraph("S", node(2, "T")), subgraph("T", loader)))

    assert [(model.nodes, model.addresses) for model in named_models(saved)] == [(("1:2:5",), (ADDRESS,))]


def test_a_subgraph_that_no_node_uses_or_whose_node_is_off_needs_nothing():
    loader = node(5, "CheckpointLoaderSimple", "a.safetensors")
    saved = workflow(node(1, "S", mode=4), subgraphs=(subgraph("S", loader), subgraph("T", loader)))

    assert named_models(saved) == []


def test_what_the_node_of_a_subgraph_has_chosen_takes_the_place_of_the_value_within():
    loader = node(5, "LoraLoaderModelOnly", "old.safetensors", 1.0, widgets=("lora_name", "strength_model"))
    outer = subgraph("S", node(2, "T", "older.safetensors", widgets=("promoted_0",)), promoted=((2, 0),))
    saved = workflow(node(1, "S", "new.safetensors"), subgraphs=(outer, subgraph("T", loader, promoted=((5, 0),))))

    assert paths(named_models(saved)) == ["loras/new.safetensors"]


def test_the_widget_behind_a_seed_does_not_shift_the_others():
    loader = node(5, "SeededLoader", 7, "randomize", "old.safetensors", widgets=("seed", "vae_name"))
    saved = workflow(node(1, "S", "new.safetensors"), subgraphs=(subgraph("S", loader, promoted=((5, 1),)),))

    assert paths(named_models(saved)) == ["vae/new.safetensors"]


def test_a_subgraph_that_holds_itself_comes_to_an_end():
    saved = workflow(node(1, "S"), subgraphs=(subgraph("S", node(2, "S"), node(3, "VAELoader", "a.safetensors")),))

    assert set(paths(named_models(saved))) == {"vae/a.safetensors"}


@pytest.mark.parametrize(
    "broken",
    [
        {"nodes": [None, 7, {"id": 1}, {"type": "VAELoader", "widgets_values": "a.safetensors"}]},
        {"nodes": [{"id": 1, "type": "VAELoader", "inputs": 3, "properties": [], "widgets_values": [["a"], {"b": 1}]}]},
        {
            "nodes": [{"id": 1, "type": "S"}],
            "definitions": {"subgraphs": [None, {"id": "S", "inputs": [{"linkIds": 3}]}]},
        },
        {"nodes": [{"id": 1, "type": "V", "properties": {"models": [1, {"name": 2}, {"name": ""}]}}], "models": {}},
        {"1": {"class_type": "VAELoader", "inputs": {"vae_name": ["2", 0], "x": None}}, "2": None},
    ],
)
def test_what_is_written_otherwise_names_nothing(broken: dict[str, Any]):
    assert named_models(broken) == []
