"""The models that a workflow names, from all that its file says of them: in the editor's format or the API's.

- What a loader's widget, or an input in API format, has chosen: that file is needed.
- `properties.models` of the node: its address, folder and, in some, its sha256. It may be out of date: where a node's
  widgets name files, only those count (so does ComfyUI's editor, when it looks for missing models).
- `models` of the whole workflow, which older editors wrote.
- Notes: links to files, and drawings of the folders that they belong into.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from comfyport.comfyui import editor
from comfyport.comfyui.editor import EditorNode
from comfyport.comfyui.needs import MODEL_SUFFIXES, ModelFile, embeddings, folder_of, is_model_file, plain, texts

_NOTES = ("Note", "MarkdownNote")
# They show or pass on a value of another node, and load nothing.
_NO_LOADERS = frozenset({*_NOTES, "PrimitiveNode", "Reroute", "GetNode", "SetNode"})
# Where an editor of before 2025 does not name the inputs, the loader itself tells: all its files are of one kind.
_FOLDERS = {
    "CheckpointLoaderSimple": "checkpoints",
    "CheckpointLoader": "checkpoints",
    "ImageOnlyCheckpointLoader": "checkpoints",
    "unCLIPCheckpointLoader": "checkpoints",
    "UNETLoader": "diffusion_models",
    "UnetLoaderGGUF": "diffusion_models",
    "VAELoader": "vae",
    "CLIPLoader": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "TripleCLIPLoader": "text_encoders",
    "QuadrupleCLIPLoader": "text_encoders",
    "CLIPLoaderGGUF": "text_encoders",
    "DualCLIPLoaderGGUF": "text_encoders",
    "CLIPVisionLoader": "clip_vision",
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "Power Lora Loader (rgthree)": "loras",
    "ControlNetLoader": "controlnet",
    "DiffControlNetLoader": "controlnet",
    "StyleModelLoader": "style_models",
    "GLIGENLoader": "gligen",
    "HypernetworkLoader": "hypernetworks",
    "PhotoMakerLoader": "photomaker",
    "UpscaleModelLoader": "upscale_models",
    "AudioEncoderLoader": "audio_encoders",
    "ModelPatchLoader": "model_patches",
}
_LINK = re.compile(r"\[(?P<label>[^\]\n]*)\]\(\s*<?(?P<url>https?://[^\s)>]+)>?[^)\n]*\)")
_ADDRESS = re.compile(r"https?://[^\s)>\]\"'`|]+")
_FOLDER_IN_TREE = re.compile(r"([\w.-]+)/\s*$")


@dataclass(frozen=True)
class NamedModel:
    """A model that a workflow needs: the file, which nodes name it, and addresses of it, the most reliable first.

    `file.folder` is empty where nothing tells it; `sha256` is what the workflow says, empty if it says none.
    """

    file: ModelFile
    nodes: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    sha256: str = ""


def named_models(workflow: Mapping[str, Any]) -> list[NamedModel]:
    """What a workflow needs, each file once, in the order of its nodes; either format. Nodes that are off need nothing.

    A file that one node's folder is unknown for is taken for the one of that name that another node needs.
    """
    if editor.is_editor_format(workflow):
        nodes = list(editor.nodes(workflow))
        needed = [found for node in nodes if node.is_active and node.type not in _NO_LOADERS for found in _of(node)]
        hints = _Hints.of(workflow, nodes)
    else:
        needed = [found for node in _api_nodes(workflow) for found in _of(node)]
        hints = _Hints((), {})
    return [_best_first(model) for model in _joined([hints.added_to(found) for found in needed])]


def switched_off(workflow: Mapping[str, Any]) -> list[NamedModel]:
    """What the nodes would need that are muted or bypassed, and no other node does."""
    if not editor.is_editor_format(workflow):
        return []
    off = [node for node in editor.nodes(workflow) if not node.is_active and node.type not in _NO_LOADERS]
    needed = {_base(model) for model in named_models(workflow)}
    return [model for model in _joined([found for node in off for found in _of(node)]) if _base(model) not in needed]


def _api_nodes(workflow: Mapping[str, Any]) -> Iterator[EditorNode]:
    for node_id, node in workflow.items():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(inputs, dict):
            yield EditorNode(str(node_id), str(node.get("class_type")), tuple(inputs.items()), {}, is_active=True)


def _of(node: EditorNode) -> list[NamedModel]:
    """What one node needs."""
    chosen = [NamedModel(file, (node.id,)) for name, value in node.values for file in _files(node.type, name, value)]
    noted = [model for each in _objects(node.properties.get("models")) if (model := _noted(each, (node.id,)))]
    if not any(is_model_file(model.file.name) for model in chosen):
        return chosen + noted
    by_name = {_base(model): model for model in reversed(noted)}
    return [_with(model, by_name.get(_base(model))) for model in chosen]


def _files(node_type: str, name: str, value: Any) -> Iterator[ModelFile]:
    if isinstance(value, dict) and value.get("on") is False:
        return
    for text in texts(value):
        yield from embeddings(text)
        if is_model_file(text) and not text.startswith(("http://", "https://")):
            yield ModelFile(folder_of(node_type, name) or _FOLDERS.get(node_type, ""), plain(text))


def _noted(told: dict[str, Any], nodes: tuple[str, ...] = ()) -> NamedModel | None:
    """What `properties.models` tells of a file: {"name": …, "url": …, "directory": …, "hash": …, "hash_type": …}."""
    name, url, directory = told.get("name"), told.get("url"), told.get("directory")
    if not isinstance(name, str) or not name:
        return None
    is_sha256 = str(told.get("hash_type")).casefold() in ("sha256", "sha-256")
    return NamedModel(
        ModelFile(directory if isinstance(directory, str) else "", plain(name)),
        nodes,
        (url,) if isinstance(url, str) and url else (),
        str(told.get("hash") or "").lower() if is_sha256 else "",
    )


def _with(model: NamedModel, told: NamedModel | None) -> NamedModel:
    """A model with what else is told of it. The folder of the notes is taken, which may be one below the loader's."""
    if told is None:
        return model
    return replace(
        model,
        file=ModelFile(told.file.folder or model.file.folder, model.file.name),
        addresses=tuple(dict.fromkeys([*model.addresses, *told.addresses])),
        sha256=model.sha256 or told.sha256,
    )


@dataclass(frozen=True)
class _Hints:
    """What a workflow says of files away from the nodes that load them: `told`, and `folders` by file name."""

    told: tuple[NamedModel, ...]
    folders: Mapping[str, str]

    @classmethod
    def of(cls, workflow: Mapping[str, Any], nodes: Iterable[EditorNode]) -> "_Hints":
        """Other nodes' properties first, then the whole workflow's list, then the notes."""
        told: list[NamedModel] = []
        notes: list[str] = []
        for node in nodes:
            told += [model for each in _objects(node.properties.get("models")) if (model := _noted(each))]
            if node.type in _NOTES:
                notes += [text for _, value in node.values for text in texts(value)]
        told += [model for each in _objects(workflow.get("models")) if (model := _noted(each))]
        told += [model for note in notes for model in _linked(note)]
        return cls(tuple(told), {name: folder for note in reversed(notes) for name, folder in _drawn(note)})

    def added_to(self, model: NamedModel) -> NamedModel:
        """The model with all that is said of it."""
        for told in self.told:
            fits = not told.file.folder or not model.file.folder or model.file.lies_in(told.file.folder)
            if _base(told) == _base(model) and fits:
                model = _with(model, replace(told, file=ModelFile(model.file.folder or told.file.folder, "")))
        if not model.file.folder and (folder := self.folders.get(_base(model))):
            model = replace(model, file=ModelFile(folder, model.file.name))
        return model


def _linked(note: str) -> Iterator[NamedModel]:
    """The files that a note links to, by the link's text and by the address."""
    for link in _LINK.finditer(note):
        label = link["label"].strip("`* ")
        if is_model_file(label) and "/" not in label:
            yield NamedModel(ModelFile("", label), (), (link["url"],))
    for found in _ADDRESS.findall(note):
        address = found.rstrip(".,;:!?*_")
        name = _last_part(address)
        if is_model_file(name):
            yield NamedModel(ModelFile("", name), (), (address,))


def _drawn(note: str) -> Iterator[tuple[str, str]]:
    """The folder that stands last before each file's name, as notes draw where to put them."""
    folder = ""
    for line in note.splitlines():
        if found := _FOLDER_IN_TREE.search(line):
            folder = found[1]
        else:
            name = line.strip(" │├└─|+-`*").split(" ")[-1]
            if folder and name.lower().endswith(MODEL_SUFFIXES) and "/" not in name:
                yield name, folder


def _joined(found: Iterable[NamedModel]) -> list[NamedModel]:
    """Each file once; one without a folder goes to the one of its name that has one."""
    models: dict[tuple[str, str], NamedModel] = {}
    for model in sorted(found, key=lambda model: not model.file.folder):
        key = (model.file.folder, model.file.name)
        same = [known for known in models if known[1] == model.file.name] if not model.file.folder else [key]
        key = same[0] if same else key
        known = models.get(key)
        merged = _with(known, model) if known else model
        nodes = (*known.nodes, *model.nodes) if known else model.nodes
        models[key] = replace(merged, file=known.file if known else model.file, nodes=tuple(dict.fromkeys(nodes)))
    return list(models.values())


def _best_first(model: NamedModel) -> NamedModel:
    """The model with the addresses first that end in its name; templates have had properties of another file."""
    addresses = sorted(model.addresses, key=lambda address: _last_part(address).casefold() != _base(model))
    return replace(model, addresses=tuple(addresses))


def _last_part(url: str) -> str:
    return unquote(re.split(r"[?#]", url, maxsplit=1)[0]).rsplit("/", 1)[-1]


def _base(model: NamedModel) -> str:
    return model.file.base_name.casefold()


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
