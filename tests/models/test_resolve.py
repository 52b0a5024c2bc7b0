"""Resolve: commit, size and sha256 of what is named, from the sites' metadata, and why some cannot be had."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web
from tenacity import wait_none

from comfyport.errors import ModelNotFound, ModelRefused, SourceFailed, UnusableReference
from comfyport.models import references
from comfyport.models.access import Access
from comfyport.models.lock import CivitaiSource, HuggingFaceSource, UrlSource
from comfyport.models.references import CivitaiReference, hugging_face
from comfyport.models.resolve import Found, Resolver
from emulators.hub import CivitaiFile, CivitaiVersion, Fault, HubEmulator, Repo
from emulators.server import LoopbackServer

BODY = b"weights" * 1000
OTHER = b"other weights" * 700
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT = "c0ffee0000000000000000000000000000000000"
TOKEN = "s3cret-token"
REPO = Repo({"vae/a.safetensors": BODY, "config.json": b"{}"}, revision=COMMIT)
FULL = CivitaiFile(id=11, name="full.safetensors", data=BODY, pruning="full", precision="fp32")
PRUNED = CivitaiFile(id=12, name="pruned.safetensors", data=OTHER, primary=True, pruning="pruned", precision="fp16")


def resolver(hub: HubEmulator, token: str = "") -> Resolver:
    access = Access(hub.url, token, hub.url, token)
    return Resolver(access, wait=wait_none())


# Hugging Face


def test_a_branch_becomes_the_commit_and_the_file_its_size_and_sha256():
    with HubEmulator({"o/r": REPO}) as hub:
        found = resolver(hub).resolve(hugging_face("o/r", "vae/a.safetensors"))

    source = HuggingFaceSource(type="huggingface", repo="o/r", revision=COMMIT, file="vae/a.safetensors")
    assert found == Found(source, "a.safetensors", len(BODY), SHA256)
    assert [(seen.method, seen.path) for seen in hub.requests] == [("GET", "/api/models/o/r/revision/main")]


def test_a_small_file_has_no_sha256_on_the_hub_and_none_is_invented():
    with HubEmulator({"o/r": REPO}) as hub:
        found = resolver(hub).resolve(hugging_face("o/r", "config.json"))

    assert (found.size, found.sha256) == (2, None)


def test_a_repository_is_asked_for_once_by_however_many_threads():
    with HubEmulator({"o/r": REPO}) as hub, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(resolver(hub).resolve, [hugging_face("o/r", "vae/a.safetensors")] * 20))

    assert {each.sha256 for each in found} == {SHA256}
    assert len(hub.requests) == 1


def test_a_renamed_repository_is_pinned_under_the_name_of_today():
    with HubEmulator({"new/name": REPO}, renamed={"o/r": "new/name"}) as hub:
        found = resolver(hub).resolve(hugging_face("o/r", "vae/a.safetensors"))

    assert isinstance(found.source, HuggingFaceSource)
    assert found.source.repo == "new/name"


def test_a_gated_repository_is_pinned_with_a_remark_on_what_its_download_needs():
    with HubEmulator({"o/r": Repo({"a.safetensors": BODY}, gated=True)}) as hub:
        found = resolver(hub).resolve(hugging_face("o/r", "a.safetensors"))

    assert found.sha256 == SHA256
    assert "https://huggingface.co/o/r" in found.remark
    assert "HF_TOKEN" in found.remark


def test_a_private_repository_needs_the_token():
    with HubEmulator({"o/r": Repo({"a.safetensors": BODY}, private=True)}, tokens=[TOKEN]) as hub:
        with pytest.raises(ModelNotFound, match="or it is private: check its name, and HF_TOKEN \\(it is not set"):
            resolver(hub).resolve(hugging_face("o/r", "a.safetensors"))
        found = resolver(hub, TOKEN).resolve(hugging_face("o/r", "a.safetensors"))

    assert found.sha256 == SHA256


def test_a_file_that_lies_elsewhere_in_the_repository_is_pointed_out():
    with HubEmulator({"o/r": REPO}) as hub, pytest.raises(ModelNotFound, match=r"it has vae/a\.safetensors"):
        resolver(hub).resolve(hugging_face("o/r", "a.safetensors"))


def test_an_unknown_revision_is_named():
    with HubEmulator({"o/r": REPO}) as hub, pytest.raises(ModelNotFound, match="no branch, tag or commit v9"):
        resolver(hub).resolve(hugging_face("o/r", "vae/a.safetensors", "v9"))


# Civitai


def test_a_version_becomes_its_primary_file():
    with HubEmulator(civitai={5: CivitaiVersion((FULL, PRUNED), model_type="LORA")}) as hub:
        found = resolver(hub).resolve(CivitaiReference(5))

    source = CivitaiSource(type="civitai", version_id=5, file_id=12)
    assert found == Found(source, "pruned.safetensors", len(OTHER), hashlib.sha256(OTHER).hexdigest(), "loras")


@pytest.mark.parametrize(
    "reference",
    [CivitaiReference(5, file_id=11), CivitaiReference(5, traits={"size": "full", "fp": "fp32"})],
    ids=["id", "traits"],
)
def test_another_file_of_a_version_is_chosen_by(reference: CivitaiReference):
    with HubEmulator(civitai={5: CivitaiVersion((FULL, PRUNED))}) as hub:
        found = resolver(hub).resolve(reference)

    assert (found.name, found.sha256) == ("full.safetensors", SHA256)


def test_a_model_becomes_its_newest_version():
    versions = {5: CivitaiVersion((PRUNED,), model_id=7), 6: CivitaiVersion((FULL,), model_id=7)}
    with HubEmulator(civitai=versions) as hub:
        found = resolver(hub).resolve(CivitaiReference(model_id=7))

    assert found.source == CivitaiSource(type="civitai", version_id=6, file_id=11)


def test_a_sha256_becomes_the_file_that_has_it_and_not_the_primary_one():
    with HubEmulator(civitai={5: CivitaiVersion((FULL, PRUNED))}) as hub:
        found = resolver(hub).resolve(CivitaiReference(sha256=SHA256))

    assert found.source == CivitaiSource(type="civitai", version_id=5, file_id=11)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (CivitaiReference(sha256="ab" * 32), "removed, or never there"),
        (CivitaiReference(9), "removed, or never there"),
        (CivitaiReference(model_id=9), "removed, or never there"),
        (CivitaiReference(5, file_id=99), r"11 \(full.safetensors\), 12 \(pruned.safetensors\)"),
    ],
    ids=["sha256", "version", "model", "file"],
)
def test_what_civitai_does_not_have_is_named(reference: CivitaiReference, reason: str):
    with (
        HubEmulator(civitai={5: CivitaiVersion((FULL, PRUNED))}) as hub,
        pytest.raises(ModelNotFound, match=reason),
    ):
        resolver(hub).resolve(reference)


def test_a_version_that_nobody_may_download_is_refused():
    versions = {5: CivitaiVersion((FULL,), usage="InternalGeneration")}
    with HubEmulator(civitai=versions) as hub, pytest.raises(ModelRefused, match="not downloaded"):
        resolver(hub).resolve(CivitaiReference(5))


# Any other host


def test_a_plain_address_has_a_size_and_no_sha256():
    with HubEmulator(files={"a b.pth": BODY}) as hub:
        source = UrlSource(type="url", url=f"{hub.url}/files/a%20b.pth")
        found = resolver(hub).resolve(source)

    assert found == Found(source, "a b.pth", len(BODY), None)


def test_a_plain_address_that_is_not_there_fails():
    with HubEmulator() as hub, pytest.raises(SourceFailed, match="404"):
        resolver(hub).resolve(UrlSource(type="url", url=f"{hub.url}/files/a.pth"))


def test_a_web_page_is_no_file():
    with HubEmulator() as hub, pytest.raises(SourceFailed, match="web page"):
        resolver(hub).resolve(UrlSource(type="url", url=f"{hub.url}/login"))


# What may pass, and what does not


@pytest.mark.parametrize("name", ["429", "503"])
def test_a_site_that_is_busy_is_asked_again(name: str):
    fault = Fault(name, times=3, where="api", retry_after=0)
    with HubEmulator({"o/r": REPO}, faults=[fault]) as hub:
        found = resolver(hub).resolve(hugging_face("o/r", "vae/a.safetensors"))

    assert found.sha256 == SHA256
    assert [seen.status for seen in hub.requests] == [int(name)] * 3 + [200]


def test_a_site_that_stays_busy_is_told_of():
    fault = Fault("503", times="always", where="api", retry_after=0)
    with HubEmulator({"o/r": REPO}, faults=[fault]) as hub, pytest.raises(SourceFailed, match="answered 503"):
        resolver(hub).resolve(hugging_face("o/r", "vae/a.safetensors"))


@pytest.mark.parametrize("reference", [hugging_face("o/r", "a"), CivitaiReference(5)], ids=["hub", "civitai"])
def test_a_login_page_in_place_of_an_answer_is_no_answer(reference: references.Reference):
    fault = Fault("login_page", times="always", where="api")
    with (
        HubEmulator({"o/r": REPO}, civitai={5: CivitaiVersion((FULL,))}, faults=[fault]) as hub,
        pytest.raises(SourceFailed, match="does not tell"),
    ):
        resolver(hub).resolve(reference)


def test_the_token_goes_to_the_site_that_it_is_for_and_nowhere_else():
    with HubEmulator({"o/r": REPO}, tokens=[TOKEN]) as hub, HubEmulator(files={"a.pth": BODY}) as other:
        asked = resolver(hub, TOKEN)
        asked.resolve(hugging_face("o/r", "vae/a.safetensors"))
        asked.resolve(UrlSource(type="url", url=f"{other.url}/files/a.pth"))

    assert [seen.authorization for seen in hub.requests] == [f"Bearer {TOKEN}"]
    assert [seen.authorization for seen in other.requests] == [None]


def test_the_token_does_not_follow_a_redirect_to_another_site():
    with HubEmulator({"o/r": REPO}) as other:

        async def leave(request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"{other.url}{request.path_qs}")

        app = web.Application()
        app.router.add_get("/{path:.*}", leave)
        with LoopbackServer(app) as mirror:
            access = Access(mirror.url, TOKEN)
            found = Resolver(access, wait=wait_none()).resolve(hugging_face("o/r", "vae/a.safetensors"))

    assert found.sha256 == SHA256
    assert [seen.authorization for seen in other.requests] == [None]


# The entry


def test_an_entry_has_the_name_and_folder_that_it_is_given_or_those_of_the_site():
    found = Found(CivitaiSource(type="civitai", version_id=5, file_id=1), "a.safetensors", 7, SHA256, "loras")

    assert found.entry().path == "loras/a.safetensors"
    assert found.entry("checkpoints", "folder/b.safetensors", ["x"]).path == "checkpoints/folder/b.safetensors"


def test_an_entry_needs_a_folder_and_a_name_that_a_file_can_have():
    found = Found(CivitaiSource(type="civitai", version_id=5, file_id=1), "a.safetensors", 7, SHA256)

    with pytest.raises(UnusableReference, match="nothing tells the folder"):
        found.entry()
    with pytest.raises(UnusableReference, match=r"must not contain '\.\.'"):
        found.entry("checkpoints", "../a.safetensors")
