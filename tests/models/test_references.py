"""References: which file an address means, in whichever of a site's forms it comes."""

import pytest

from comfyport.errors import UnusableReference
from comfyport.models import references
from comfyport.models.access import Access
from comfyport.models.lock import UrlSource
from comfyport.models.references import CivitaiReference, hugging_face

HUB = "https://huggingface.co"
FILE = hugging_face("o/r", "vae/a.safetensors", "main")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"{HUB}/o/r/resolve/main/vae/a.safetensors", FILE),
        (f"{HUB}/o/r/resolve/main/vae/a.safetensors?download=true", FILE),
        (f"{HUB}/o/r/blob/main/vae/a.safetensors", FILE),
        (f"  {HUB}/o/r/raw/main/vae/a.safetensors\n", FILE),
        ("https://hf.co/o/r/resolve/main/vae/a.safetensors", FILE),
        ("https://hf-mirror.com/o/r/resolve/main/vae/a.safetensors", FILE),
        ("hf://o/r/vae/a.safetensors", FILE),
        ("hf://o/r@v1.0/a.safetensors", hugging_face("o/r", "a.safetensors", "v1.0")),
        (f"{HUB}/o/r/resolve/refs%2Fpr%2F1/a.safetensors", hugging_face("o/r", "a.safetensors", "refs/pr/1")),
        (f"{HUB}/o/r/resolve/refs/pr/1/a.safetensors", hugging_face("o/r", "a.safetensors", "refs/pr/1")),
        (f"{HUB}/o/r/resolve/main/a%20b%2Bc.safetensors", hugging_face("o/r", "a b+c.safetensors")),
    ],
)
def test_an_address_of_the_hub_is_a_file_of_a_repository(address: str, expected: object):
    assert references.read(address, Access()) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://civitai.com/models/7?modelVersionId=5", CivitaiReference(5, 7)),
        ("https://civitai.com/models/7/a-name?modelVersionId=5", CivitaiReference(5, 7)),
        ("https://civitai.com/models/7/a-name", CivitaiReference(None, 7)),
        ("https://civitai.com/api/download/models/5", CivitaiReference(5)),
        ("https://civitai.red/api/download/models/5?fileId=9", CivitaiReference(5, file_id=9)),
        ("https://civitai.com/api/v1/model-versions/5", CivitaiReference(5)),
        (
            "https://civitai.com/api/download/models/5?type=Model&format=SafeTensor&size=pruned&fp=fp16",
            CivitaiReference(5, traits={"type": "Model", "format": "SafeTensor", "size": "pruned", "fp": "fp16"}),
        ),
        ("urn:air:sdxl:checkpoint:civitai:7@5", CivitaiReference(5, 7)),
        ("civitai:7@5", CivitaiReference(5, 7)),
        ("civitai:7", CivitaiReference(None, 7)),
    ],
)
def test_an_address_of_civitai_is_a_version_or_a_model(address: str, expected: CivitaiReference):
    assert references.read(address, Access()) == expected


def test_a_token_in_an_address_of_civitai_is_left_out():
    found = references.read("https://civitai.com/api/download/models/5?token=s3cret", Access())

    assert found == CivitaiReference(5)
    assert "s3cret" not in repr(found)


def test_an_endpoint_of_ones_own_is_the_hub_and_another_host_is_not():
    access = Access(hf_endpoint="https://mirror.example/hub", civitai_endpoint="https://civitai.example")

    assert references.read("https://mirror.example/hub/o/r/resolve/main/vae/a.safetensors", access) == FILE
    assert references.read("https://civitai.example/models/7", access) == CivitaiReference(None, 7)
    for other in ("https://mirror.example/o/r/resolve/main/a", "https://mirror.example.org/hub/o/r/resolve/main/a"):
        assert references.read(other, access) == UrlSource(type="url", url=other)


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/o/r/releases/download/v1/a.pth",
        "https://huggingface.co/datasets/o/r/resolve/main/a.safetensors",
        "https://raw.githubusercontent.com/o/r/main/a.pth",
    ],
)
def test_any_other_address_of_a_file_stays_what_it_is(address: str):
    assert references.read(address, Access()) == UrlSource(type="url", url=address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"{HUB}/o/r", "open the file there"),
        (f"{HUB}/o/r/tree/main/vae", "open the file there"),
        ("https://civitai.com/user/somebody", "no page of a model"),
        ("a.safetensors", "must start with https://"),
        ("ftp://example.org/a.safetensors", "must start with https://"),
        ("https://example.org/a?token=s3cret", "must not carry a token"),
        ("https://me:s3cret@example.org/a", "must not contain a user name"),
        ("https://[::1/a", "IPv6"),
    ],
)
def test_what_names_no_file_is_refused_with_what_to_do(address: str, reason: str):
    with pytest.raises(UnusableReference, match=reason) as refused:
        references.read(address, Access())

    assert "s3cret" not in str(refused.value)
