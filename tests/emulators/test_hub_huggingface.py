import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from emulators.hub import HubEmulator, Repo

BODY = bytes(range(256)) * 400
CONFIG = b'{"model_type": "test"}\n'
REVISION = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    files = {"model.safetensors": BODY, "unet/config.json": CONFIG}
    repos = {
        "owner/open": Repo(files=files, revision=REVISION),
        "owner/gated": Repo(files=files, revision=REVISION, gated=True, readers=frozenset({"hf_reader"})),
        "owner/private": Repo(files=files, revision=REVISION, private=True, readers=frozenset({"hf_reader"})),
    }
    with HubEmulator(repos=repos, tokens={"hf_reader", "hf_stranger"}) as emulator:
        yield emulator


def test_huggingface_hub_downloads_an_lfs_file_from_the_cdn(hub: HubEmulator, tmp_path: Path) -> None:
    path = hf_hub_download("owner/open", "model.safetensors", endpoint=hub.url, cache_dir=tmp_path, token="hf_reader")

    assert Path(path).read_bytes() == BODY
    assert [(seen.method, seen.role, seen.status, seen.bytes_sent) for seen in hub.requests] == [
        ("HEAD", "hub", 302, 0),
        ("GET", "cdn", 200, len(BODY)),
    ]


def test_huggingface_hub_keeps_the_token_from_the_cdn(hub: HubEmulator, tmp_path: Path) -> None:
    hf_hub_download("owner/gated", "model.safetensors", endpoint=hub.url, cache_dir=tmp_path, token="hf_reader")

    assert [(seen.role, seen.authorization) for seen in hub.requests] == [
        ("hub", "Bearer hf_reader"),
        ("cdn", None),
    ]


def test_huggingface_hub_downloads_a_small_file_directly(hub: HubEmulator, tmp_path: Path) -> None:
    path = hf_hub_download("owner/open", "unet/config.json", endpoint=hub.url, cache_dir=tmp_path, token=False)

    assert Path(path).read_bytes() == CONFIG
    assert {seen.role for seen in hub.requests} == {"hub"}


@pytest.mark.parametrize("revision", ["main", REVISION, REVISION[:7]])
def test_metadata_of_an_lfs_file_has_commit_sha256_and_size(hub: HubEmulator, revision: str) -> None:
    url = hf_hub_url("owner/open", "model.safetensors", revision=revision, endpoint=hub.url)

    metadata = get_hf_file_metadata(url, token=False, endpoint=hub.url)

    assert metadata.commit_hash == REVISION
    assert metadata.etag == hashlib.sha256(BODY).hexdigest()
    assert metadata.size == len(BODY)
    assert metadata.location.startswith(f"{hub.cdn_url}/cdn/{metadata.etag}?Expires=")
    assert metadata.xet_file_data is None


def test_metadata_of_a_small_file_has_the_git_blob_id(hub: HubEmulator) -> None:
    url = hf_hub_url("owner/open", "unet/config.json", endpoint=hub.url)

    metadata = get_hf_file_metadata(url, token=False, endpoint=hub.url)

    assert metadata.etag == hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
    assert metadata.size == len(CONFIG)


def test_model_info_lists_files_with_sizes_and_digests(hub: HubEmulator) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info("owner/open", revision=REVISION, files_metadata=True)

    assert info.sha == REVISION
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert set(siblings) == {"model.safetensors", "unet/config.json"}
    weights, config = siblings["model.safetensors"], siblings["unet/config.json"]
    assert weights.lfs is not None
    assert (weights.lfs.sha256, weights.lfs.size) == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert weights.lfs.pointer_size == 131
    assert (config.lfs, config.size) == (None, len(CONFIG))


def test_model_info_without_files_metadata_has_names_only(hub: HubEmulator) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info("owner/open")

    assert [(s.rfilename, s.size) for s in info.siblings or []] == [
        ("model.safetensors", None),
        ("unet/config.json", None),
    ]


def test_a_gated_repository_shows_its_list_to_everybody(hub: HubEmulator) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info("owner/gated", files_metadata=True)

    assert info.gated == "manual"
    assert len(info.siblings or []) == 2


@pytest.mark.parametrize(
    ("token", "status", "words"),
    [
        (False, 401, "Please log in"),
        ("hf_garbage", 401, "Please log in"),
        ("hf_stranger", 403, "not in the authorized list"),
    ],
)
def test_a_gated_file_is_refused(hub: HubEmulator, token: str | bool, status: int, words: str) -> None:
    url = hf_hub_url("owner/gated", "model.safetensors", endpoint=hub.url)

    with pytest.raises(GatedRepoError, match=words) as caught:
        get_hf_file_metadata(url, token=token, endpoint=hub.url)

    assert caught.value.response.status_code == status


@pytest.mark.parametrize(("token", "status"), [(False, 401), ("hf_stranger", 404)])
@pytest.mark.parametrize("repo", ["owner/private", "owner/missing"])
def test_a_private_repository_looks_like_a_missing_one(
    hub: HubEmulator, repo: str, token: str | bool, status: int
) -> None:
    with pytest.raises(RepositoryNotFoundError) as caught:
        HfApi(endpoint=hub.url).model_info(repo, token=token)

    assert caught.value.response.status_code == status


def test_a_private_repository_opens_to_its_readers(hub: HubEmulator, tmp_path: Path) -> None:
    path = hf_hub_download(
        "owner/private", "model.safetensors", endpoint=hub.url, cache_dir=tmp_path, token="hf_reader"
    )

    assert Path(path).read_bytes() == BODY


def test_a_wrong_token_is_refused_even_for_public_files(hub: HubEmulator) -> None:
    url = hf_hub_url("owner/open", "model.safetensors", endpoint=hub.url)

    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header"):
        get_hf_file_metadata(url, token="hf_garbage", endpoint=hub.url)


def test_an_unknown_revision_and_an_unknown_file_have_errors_of_their_own(hub: HubEmulator) -> None:
    no_revision = hf_hub_url("owner/open", "model.safetensors", revision="v9", endpoint=hub.url)
    no_file = hf_hub_url("owner/open", "other.safetensors", endpoint=hub.url)

    with pytest.raises(RevisionNotFoundError, match="Invalid rev id: v9"):
        get_hf_file_metadata(no_revision, token=False)
    with pytest.raises(RemoteEntryNotFoundError):
        get_hf_file_metadata(no_file, token=False)
    with pytest.raises(RevisionNotFoundError):
        HfApi(endpoint=hub.url, token=False).model_info("owner/open", revision="v9")


def test_whoami_knows_the_tokens_it_was_given(hub: HubEmulator) -> None:
    api = HfApi(endpoint=hub.url)

    assert api.whoami(token="hf_reader")["name"] == "emulated-user"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_garbage")


def test_a_signed_url_works_without_a_token_and_only_as_it_was_signed(hub: HubEmulator) -> None:
    url = hf_hub_url("owner/open", "model.safetensors", endpoint=hub.url)
    signed = requests.get(url, allow_redirects=False).headers["Location"]

    good = requests.get(signed)
    forged = requests.get(signed.replace("Signature=", "Signature=0"))
    for_another = requests.get(signed.replace("/cdn/", "/cdn/0"))
    on_the_hub = requests.get(signed.replace(hub.cdn_url, hub.url))

    assert good.content == BODY
    assert (forged.status_code, for_another.status_code) == (403, 403)
    assert on_the_hub.status_code == 404


def test_a_signed_url_ends_when_its_time_is_over() -> None:
    now = [1000.0]
    repos = {"owner/open": Repo(files={"model.safetensors": BODY})}
    with HubEmulator(repos=repos, signature_seconds=60, clock=lambda: now[0]) as hub:
        url = hf_hub_url("owner/open", "model.safetensors", endpoint=hub.url)
        signed = requests.get(url, allow_redirects=False).headers["Location"]

        before = requests.get(signed).status_code
        now[0] += 61
        after = requests.get(signed).status_code
        fresh = requests.get(url).status_code

    assert (before, after, fresh) == (200, 403, 200)
