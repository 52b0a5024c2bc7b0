import hashlib
import struct

import pytest
import requests
from safetensors import deserialize

from emulators.hub import HubEmulator, quickstart_catalogue, quickstart_civitai, quickstart_repos
from emulators.hub.weights import Precision, StateDict

CATALOGUE = quickstart_catalogue()
UPSCALER = "upscale_models/quickstart-4x.safetensors"
DIGESTS = {
    UPSCALER: "8f5ce0cfd7c643fe31a1624283c0512e992184b5eee42884561f40503b535baa",
    "checkpoints/quickstart.safetensors": "f5859c3a55e6f3d1d250bdb80aff992a7d105e62c4d91ae5ba1a576a95885930",
    "loras/quickstart-lora.safetensors": "2666191826bf74b384cdfe1534e63308277ef1377a98beb564f4fc5badf23551",
}


def test_the_catalogue_has_the_same_bytes_everywhere() -> None:
    made = {path: hashlib.sha256(file.data).hexdigest() for path, file in CATALOGUE.items()}

    assert made == DIGESTS
    assert {path: file.sha256 for path, file in CATALOGUE.items()} == DIGESTS
    assert all(len(file.data) == file.size for file in CATALOGUE.values())


@pytest.mark.parametrize("path", DIGESTS)
def test_the_safetensors_library_reads_the_catalogue(path: str) -> None:
    tensors = dict(deserialize(CATALOGUE[path].data))

    assert sum(len(tensor["data"]) for tensor in tensors.values()) > 0.99 * CATALOGUE[path].size
    assert {tensor["dtype"] for tensor in tensors.values()} <= {"F16", "F32"}


def test_the_upscaler_has_the_tensors_of_an_rrdbnet() -> None:
    tensors = dict(deserialize(CATALOGUE[UPSCALER].data))
    shapes = {name: tensor["shape"] for name, tensor in tensors.items()}

    assert shapes["conv_first.weight"] == [64, 3, 3, 3]
    assert shapes["body.5.rdb3.conv5.weight"] == [64, 192, 3, 3]
    assert shapes["conv_up2.weight"] == shapes["conv_hr.weight"] == [64, 64, 3, 3]
    assert shapes["conv_last.weight"] == [3, 64, 3, 3]
    assert len(shapes) == 2 * (6 * 3 * 5 + 6)


@pytest.mark.parametrize(("precision", "letter", "width"), [("F16", "e", 2), ("F32", "f", 4)])
def test_random_weights_are_small_finite_and_of_either_sign(precision: Precision, letter: str, width: int) -> None:
    state = StateDict({"a": (100, 100)}, seed=3, precision=precision)

    numbers = struct.unpack(f"<{len(state.data) // width}{letter}", state.data)

    assert len(numbers) == 10_000
    assert max(abs(number) for number in numbers) < 0.05
    assert 4000 < sum(number > 0 for number in numbers) < 6000
    assert len(set(numbers)) > 20


def test_the_hub_serves_the_catalogue() -> None:
    with HubEmulator(repos=quickstart_repos(), civitai=quickstart_civitai()) as hub:
        weights = requests.get(f"{hub.url}/comfyport/quickstart/resolve/main/{UPSCALER}")
        card = requests.get(f"{hub.url}/comfyport/quickstart/resolve/main/README.md")
        lora = requests.get(f"{hub.url}/api/download/models/1001")

    assert hashlib.sha256(weights.content).hexdigest() == DIGESTS[UPSCALER]
    assert b"quickstart" in card.content
    assert hashlib.sha256(lora.content).hexdigest() == DIGESTS["loras/quickstart-lora.safetensors"]
