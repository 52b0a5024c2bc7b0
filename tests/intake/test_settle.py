"""Settling: a wanted model is looked up at its addresses, or known by its name, or left with a reason."""

import hashlib

import pytest
from tenacity import wait_none

from comfyport.errors import InvalidSetting
from comfyport.intake.settle import IN_THE_LOCK, Clerk, Settled, Unresolved
from comfyport.intake.shipped import shipped_models
from comfyport.intake.wanted import Wanted
from comfyport.models.access import Access
from comfyport.models.lock import Entry
from comfyport.models.resolve import Resolver
from emulators.hub import CivitaiFile, CivitaiVersion, Fault, HubEmulator, Repo
from tests.conftest import entry

BODY = b"weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT = "c0ffee0000000000000000000000000000000000"
REPO = Repo({"a.safetensors": BODY}, revision=COMMIT)
URL = "https://huggingface.co/o/r/resolve/main/a.safetensors"
GONE = "https://huggingface.co/o/r/resolve/main/gone.safetensors"
ON_HUB = {"type": "huggingface", "repo": "o/r", "revision": "main", "file": "a.safetensors"}


def settled(
    hub: HubEmulator, wanted: Wanted, *, locked: tuple[Entry, ...] = (), known: tuple[Entry, ...] = ()
) -> Settled:
    answer = asked(hub, wanted, locked=locked, known=known)
    assert isinstance(answer, Settled), answer
    return answer


def asked(
    hub: HubEmulator, wanted: Wanted, *, locked: tuple[Entry, ...] = (), known: tuple[Entry, ...] = ()
) -> Settled | Unresolved:
    access = Access(hub.url, civitai_endpoint=hub.url)
    [answer] = Clerk(access, Resolver(access, wait=wait_none()), locked=locked, known=known).settle([wanted])
    return answer


def test_an_address_becomes_a_pinned_entry_under_the_wanted_name():
    with HubEmulator({"o/r": REPO}) as hub:
        answer = settled(hub, Wanted("sub/b.safetensors", "checkpoints", (URL,)))

    assert answer.entry == entry(
        "checkpoints", "sub/b.safetensors", size=len(BODY), sha256=SHA256, sources=[{**ON_HUB, "revision": COMMIT}]
    )


def test_the_next_address_is_tried_where_one_fails():
    with HubEmulator({"o/r": REPO}) as hub:
        answer = settled(hub, Wanted("a.safetensors", "vae", (GONE, "not an address", URL)))

    assert answer.entry.sha256 == SHA256


def test_a_file_with_another_sha256_than_the_workflow_says_is_not_taken():
    with HubEmulator({"o/r": REPO}) as hub:
        answer = asked(hub, Wanted("a.safetensors", "vae", (URL,), "ab" * 32))

    assert isinstance(answer, Unresolved)
    assert f"the file there has the sha256 {SHA256}, and {'ab' * 32} is asked for" in answer.reason


def test_a_sha256_that_the_site_does_not_tell_is_taken_from_the_file():
    with HubEmulator(files={"a.safetensors": BODY}) as hub:
        answer = settled(hub, Wanted("a.safetensors", "vae", (f"{hub.url}/files/a.safetensors",), SHA256))

    assert (answer.entry.size, answer.entry.sha256) == (len(BODY), SHA256)


def test_the_folder_is_the_sites_where_nothing_else_tells_it():
    version = CivitaiVersion((CivitaiFile(1, "style.safetensors", BODY),), model_type="LORA")
    with HubEmulator(civitai={5: version}) as hub:
        answer = settled(hub, Wanted("", "", ("https://civitai.com/models/1?modelVersionId=5",)))

    assert answer.entry.path == "loras/style.safetensors"


def test_a_folder_of_the_repository_tells_where_its_files_belong():
    with HubEmulator({"o/r": Repo({"split_files/vae/a.safetensors": BODY})}) as hub:
        answer = settled(hub, Wanted("", "", ("hf://o/r/split_files/vae/a.safetensors",)))

    assert answer.entry.path == "vae/a.safetensors"


def test_a_folder_that_nobody_tells_is_asked_for():
    with HubEmulator({"o/r": REPO}) as hub:
        answer = asked(hub, Wanted("", "", (URL,)))

    assert isinstance(answer, Unresolved)
    assert "nothing tells the folder" in answer.reason


def test_what_a_gated_repository_needs_is_remarked():
    with HubEmulator({"o/r": Repo({"a.safetensors": BODY}, gated=True)}) as hub:
        answer = settled(hub, Wanted("a.safetensors", "vae", (URL,)))

    assert "HF_TOKEN" in answer.remark


def test_a_file_that_the_lock_has_keeps_its_pin_and_is_not_looked_up():
    pinned = entry("vae", "a.safetensors", size=1, sha256="ab" * 32, sources=[ON_HUB])
    with HubEmulator({"o/r": REPO}) as hub:
        answer = settled(hub, Wanted("a.safetensors", "vae", (URL,)), locked=(pinned,))

    assert (answer.entry, answer.remark, hub.requests) == (pinned, IN_THE_LOCK, [])


@pytest.mark.parametrize(
    ("directory", "name"),
    [("vae", "a.safetensors"), ("vae/flux", "a.safetensors"), ("", "a.safetensors")],
)
def test_a_name_alone_is_known_from_a_lock(directory: str, name: str):
    known = entry("vae/flux", "a.safetensors", sha256=SHA256)
    with HubEmulator() as hub:
        answer = settled(hub, Wanted(name, directory), known=(known,))

    assert (answer.entry, answer.remark) == (known, "known by its name")


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted("a.safetensors", "loras"),
        Wanted("b.safetensors", "vae"),
        Wanted("a.safetensors", "vae", sha256="ab" * 32),
    ],
    ids=["folder", "name", "sha256"],
)
def test_a_name_in_another(wanted: Wanted):
    with HubEmulator() as hub:
        answer = asked(hub, wanted, known=(entry("vae", "a.safetensors", sha256=SHA256),))

    assert isinstance(answer, Unresolved)


def test_the_names_of_comfyuis_older_folders_mean_the_same():
    known = entry("diffusion_models", "a.safetensors")
    with HubEmulator() as hub:
        assert settled(hub, Wanted("a.safetensors", "unet"), known=(known,)).entry == known


def test_the_name_counts_where_the_addresses_fail_and_why_is_told():
    known = entry("vae", "a.safetensors")
    with HubEmulator({"o/r": REPO}) as hub:
        answer = settled(hub, Wanted("a.safetensors", "vae", (GONE,)), known=(known,))

    assert answer.entry == known
    assert answer.remark.startswith("known by its name; gone.safetensors is not at o/r")


def test_a_sha256_alone_is_looked_for_on_civitai():
    version = CivitaiVersion((CivitaiFile(1, "style.safetensors", BODY),), model_type="LORA")
    with HubEmulator(civitai={5: version}) as hub:
        answer = settled(hub, Wanted("a.safetensors", "loras/x", sha256=SHA256, size=len(BODY)))
        left = asked(hub, Wanted("a.safetensors", "loras/x", sha256="ab" * 32))

    assert (answer.entry.path, answer.entry.sha256) == ("loras/x/a.safetensors", SHA256)
    assert isinstance(left, Unresolved)


def test_what_is_left_says_what_to_do():
    with HubEmulator() as hub:
        answer = asked(hub, Wanted("a.safetensors", "vae", nodes=("4",)))

    assert isinstance(answer, Unresolved)
    assert answer.reason == "nothing says where it comes from"
    assert "`comfyport models add url ADDRESS --directory vae --name a.safetensors`" in answer.advice
    assert "models/vae/a.safetensors" in answer.advice


def test_a_password_in_an_address_is_shown_nowhere():
    with HubEmulator() as hub:
        answer = asked(hub, Wanted("", "vae", ("https://me:s3cret@example.org/a.bin?key=s3cret",)))

    assert isinstance(answer, Unresolved)
    assert answer.wanted.shown == "https://example.org/a.bin"
    assert "s3cret" not in f"{answer.reason} {answer.advice}"


def test_all_reasons_are_told_where_several_addresses_fail():
    fault = Fault("503", times="always", where="api", retry_after=0)
    with HubEmulator({"o/r": REPO}, faults=[fault]) as hub:
        answer = asked(hub, Wanted("a.safetensors", "vae", ("https://example.org/?token=s3cret", URL)))

    assert isinstance(answer, Unresolved)
    assert "must not carry a token" in answer.reason
    assert "answered 503" in answer.reason
    assert "s3cret" not in answer.reason


def test_a_token_that_cannot_be_one_ends_the_import():
    with HubEmulator({"o/r": REPO}) as hub:
        access = Access(hub.url, "a token")
        with pytest.raises(InvalidSetting, match="HF_TOKEN"):
            Clerk(access, Resolver(access), locked=(), known=()).settle([Wanted("a.safetensors", "vae", (URL,))])


def test_the_lock_that_comes_with_comfyport_knows_the_default_checkpoint():
    wanted = Wanted("v1-5-pruned-emaonly-fp16.safetensors", "checkpoints")
    with HubEmulator() as hub:
        assert settled(hub, wanted, known=shipped_models()).entry.sha256
