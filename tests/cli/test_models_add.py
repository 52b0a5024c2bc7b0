"""`comfyport models add` and `remove`: what they pin, what they refuse, and what they leave as it was."""

import json
from pathlib import Path

import pytest

from emulators.hub import CivitaiFile, CivitaiVersion, HubEmulator, Repo
from tests.cli.models import BODY, COMMIT, SHA256, TOKEN, entries, models
from tests.conftest import write_lock

REPO = Repo({"vae/a.safetensors": BODY, "config.json": b"{}"}, revision=COMMIT)
FROM_HUB = ("add", "hf", "o/r", "vae/a.safetensors", "--directory", "vae")


def test_from_nothing_to_a_file_on_the_volume(tmp_path: Path):
    lock = tmp_path / "new.lock.json"
    with HubEmulator({"o/r": REPO}) as hub:
        added = models(tmp_path, *FROM_HUB, "--lock", str(lock), "--json", HF_ENDPOINT=hub.url)
        pinned = models(tmp_path, "sync", "--locked", "--lock", str(lock), HF_ENDPOINT=hub.url)

    source = {"type": "huggingface", "repo": "o/r", "revision": COMMIT, "file": "vae/a.safetensors"}
    entry = {"directory": "vae", "name": "a.safetensors", "size": len(BODY), "sha256": SHA256, "sources": [source]}
    assert added.status == 0, added.err
    assert added.json == {
        "ok": True,
        "lock": str(lock),
        "how": "added",
        "model": entry,
        "open": [],
        "remark": "",
    }
    assert json.loads(lock.read_text()) == {"version": 1, "models": [entry]}
    assert pinned.status == 0, pinned.err
    assert (tmp_path / "volume/models/vae/a.safetensors").read_bytes() == BODY


def test_a_version_of_civitai_brings_its_folder_and_its_file(tmp_path: Path):
    version = CivitaiVersion([CivitaiFile(7, "style.safetensors", BODY)], model_type="LORA")
    with HubEmulator(civitai={5: version}) as hub:
        added = models(tmp_path, "add", "civitai", "5", "--group", "styles", CIVITAI_ENDPOINT=hub.url)

    assert added.status == 0, added.err
    assert "loras/style.safetensors" in added.out
    assert entries(tmp_path) == [
        {
            "directory": "loras",
            "name": "style.safetensors",
            "size": len(BODY),
            "sha256": SHA256,
            "groups": ["styles"],
            "sources": [{"type": "civitai", "version_id": 5, "file_id": 7}],
        }
    ]


def test_an_address_tells_its_size_and_leaves_the_sha256_open(tmp_path: Path):
    with HubEmulator(files={"a.bin": BODY}, files_tokens=[TOKEN]) as hub:
        added = models(
            tmp_path,
            *("add", "url", f"{hub.url}/files/a.bin", "--directory", "loras", "--auth", "env:MINE", "--json"),
            MINE=TOKEN,
        )

    assert added.status == 0, added.err
    assert added.json["model"]["size"] == len(BODY)
    assert added.json["open"] == ["no sha256"]
    assert "the first download records" in added.err
    assert entries(tmp_path)[0]["sources"][0]["auth"] == "env:MINE"
    assert TOKEN not in added.out + added.err + (tmp_path / "models.lock.json").read_text()


def test_an_address_of_the_hub_becomes_a_pinned_source_of_the_hub(tmp_path: Path):
    with HubEmulator({"o/r": REPO}) as hub:
        url = f"{hub.url}/o/r/resolve/main/vae/a.safetensors"
        added = models(tmp_path, "add", "url", url, "--directory", "vae", "--json", HF_ENDPOINT=hub.url)

    assert added.json["model"]["sources"][0] == {
        "type": "huggingface",
        "repo": "o/r",
        "revision": COMMIT,
        "file": "vae/a.safetensors",
    }


def test_a_sha256_that_a_person_knows_closes_the_gap(tmp_path: Path):
    with HubEmulator(files={"a.zip": BODY}) as hub:
        place = ("--archive", "zip", "--into", "insightface/models/x", "--strip", "1", "--sha256", SHA256.upper())
        added = models(tmp_path, "add", "url", f"{hub.url}/files/a.zip", *place, "--json")

    assert added.json["open"] == []
    assert added.json["model"]["directory"] == "insightface/models"
    assert added.json["model"]["archive"] == {"format": "zip", "into": "insightface/models/x", "strip": 1}


def test_the_rest_of_the_lock_stays_as_it_is_written(tmp_path: Path):
    written = '{ "version": 1,\n  "models": [\n    {"name": "b",  "directory": "x", "sources": [{"type": "url",'
    written += ' "url": "https://host/b"}], "size": null}\n  ]\n}'
    (tmp_path / "models.lock.json").write_text(written)
    with HubEmulator({"o/r": REPO}) as hub:
        added = models(tmp_path, *FROM_HUB, HF_ENDPOINT=hub.url)
    models(tmp_path, "remove", "a.safetensors")

    assert added.status == 0, added.err
    assert (tmp_path / "models.lock.json").read_text() == written


def test_in_a_lock_with_groups_a_model_without_one_is_fetched_by_default(tmp_path: Path):
    other = {"directory": "x", "name": "b", "groups": ["g"], "sources": [{"type": "url", "url": "https://host/b"}]}
    write_lock(tmp_path / "models.lock.json", other)
    with HubEmulator({"o/r": REPO}) as hub:
        models(tmp_path, *FROM_HUB, HF_ENDPOINT=hub.url)

    assert entries(tmp_path)[1]["groups"] == ["default"]


def test_the_first_group_of_a_lock_comes_with_a_warning(tmp_path: Path):
    other = {"directory": "x", "name": "b", "sources": [{"type": "url", "url": "https://host/b"}]}
    write_lock(tmp_path / "models.lock.json", other)
    with HubEmulator({"o/r": REPO}) as hub:
        added = models(tmp_path, *FROM_HUB, "--group", "g", HF_ENDPOINT=hub.url)

    assert "the other entries have no groups" in added.err


def test_the_same_bytes_elsewhere_are_one_more_source(tmp_path: Path):
    version = CivitaiVersion([CivitaiFile(7, "a.safetensors", BODY)], model_type="VAE")
    with HubEmulator({"o/r": REPO}, civitai={5: version}) as hub:
        sites = {"HF_ENDPOINT": hub.url, "CIVITAI_ENDPOINT": hub.url}
        models(tmp_path, *FROM_HUB, **sites)
        second = models(tmp_path, "add", "civitai", "5", "--json", **sites)
        again = models(tmp_path, *FROM_HUB, "--json", **sites)

    assert second.json["how"] == "source added"
    assert [source["type"] for source in entries(tmp_path)[0]["sources"]] == ["huggingface", "civitai"]
    assert again.json["how"] == "there already"


@pytest.mark.parametrize(
    ("other", "reason"),
    [(b"other bytes", f"with other bytes (sha256 {SHA256})"), (None, "it is not known whether it is the same file")],
)
def test_another_file_at_the_same_path_is_refused(tmp_path: Path, other: bytes | None, reason: str):
    repos = {"o/r": REPO, "o/other": Repo({"A.safetensors": other or b""})}
    with HubEmulator(repos, files={"A.safetensors": BODY}) as hub:
        models(tmp_path, *FROM_HUB, HF_ENDPOINT=hub.url)
        second = ("hf", "o/other", "A.safetensors") if other else ("url", f"{hub.url}/files/A.safetensors")
        before = (tmp_path / "models.lock.json").read_bytes()
        clash = models(tmp_path, "add", *second, "--directory", "vae", "--json", HF_ENDPOINT=hub.url)

    assert (clash.status, clash.json["error"]["code"]) == (2, "model_listed")
    assert reason in clash.err
    assert (tmp_path / "models.lock.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status", "code", "said"),
    [
        (("hf", "o/none", "a", "--directory", "vae"), 1, "model_not_found", "HF_TOKEN (it is not set)"),
        (("hf", "o/r", "a.safetensors", "--directory", "vae"), 1, "model_not_found", "it has vae/a.safetensors"),
        (("hf", "o/r", "vae/a.safetensors"), 2, "unusable_reference", "the folder below models/"),
        (("hf", "no-owner", "a", "--directory", "vae"), 2, "unusable_reference", "its repo"),
        (("hf", "o/r", "../a", "--directory", "vae"), 2, "unusable_reference", "must not contain '..'"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "../../etc"), 2, "unusable_reference", "'..'"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "/etc"), 2, "unusable_reference", "a plain relative path"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "vae", "--name", "../x"), 2, "unusable_reference", "'..'"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "vae", "--name", "NUL"), 2, "unusable_reference", "device"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "vae", "--group", "a b"), 2, "unusable_reference", "groups"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "x", "--archive", "rar"), 2, "usage", "'zip' or 'tar'"),
        (("hf", "o/r", "vae/a.safetensors", "--archive", "zip", "--into", "../x"), 2, "usage", "'..'"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "x", "--strip", "1"), 2, "usage", "--archive"),
        (("hf", "o/r", "vae/a.safetensors", "--directory", "x", "--sha256", "0" * 64), 2, "usage", "not the one"),
        (("civitai", "99", "--directory", "vae"), 1, "model_not_found", "civitai version 99"),
        (("civitai", "nonsense"), 2, "unusable_reference", ""),
        (("civitai", "https://huggingface.co/o/r/resolve/main/a"), 2, "unusable_reference", "neither the id"),
        (("url", "file:///etc/passwd", "--directory", "vae"), 2, "unusable_reference", "https:// or http://"),
        (("url", "https://host/a?token=s3cret-token", "--directory", "vae"), 2, "unusable_reference", "`auth`"),
        (("url", "https://me:s3cret-token@host/a", "--directory", "vae"), 2, "unusable_reference", "`auth`"),
        (("url", "https://host/a", "--auth", "s3cret-token", "--directory", "vae"), 2, "unusable_reference", "auth"),
        (("url", "https://host/a", "--auth", "env:UNSET", "--directory", "vae"), 2, "invalid_setting", "UNSET"),
    ],
)
def test_nonsense_is_told_as_such_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], status: int, code: str, said: str
):
    with HubEmulator({"o/r": REPO}) as hub:
        sites = {"HF_ENDPOINT": hub.url, "CIVITAI_ENDPOINT": hub.url}
        answer = models(tmp_path, "add", *arguments, "--json", **sites)

    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert TOKEN not in answer.out + answer.err
    assert entries(tmp_path) == []


def test_a_gated_model_is_pinned_and_its_terms_are_pointed_to(tmp_path: Path):
    with HubEmulator({"o/r": Repo({"a.safetensors": BODY}, gated=True)}) as hub:
        added = models(tmp_path, "add", "hf", "o/r", "a.safetensors", "--directory", "vae", HF_ENDPOINT=hub.url)

    assert added.status == 0, added.err
    assert "gated: accept its terms" in added.err


def test_the_token_opens_a_private_repository_and_is_never_shown(tmp_path: Path):
    with HubEmulator({"o/r": Repo({"a.safetensors": BODY}, private=True)}, tokens=[TOKEN]) as hub:
        place = ("add", "hf", "o/r", "a.safetensors", "--directory", "vae", "--json")
        closed = models(tmp_path, *place, HF_ENDPOINT=hub.url, HF_TOKEN="s3cret-but-wrong")
        opened = models(tmp_path, *place, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)

    assert (closed.status, opened.status) == (1, 0)
    shown = closed.out + closed.err + opened.out + opened.err
    assert "s3cret" not in shown + (tmp_path / "models.lock.json").read_text()


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 1}'])
def test_a_broken_lock_is_told_before_anybody_is_asked(tmp_path: Path, content: str):
    (tmp_path / "models.lock.json").write_text(content)
    with HubEmulator({"o/r": REPO}) as hub:
        answer = models(tmp_path, *FROM_HUB, "--json", HF_ENDPOINT=hub.url)

    assert (answer.status, answer.json["error"]["code"]) == (2, "invalid_lock")
    assert hub.requests == []
    assert (tmp_path / "models.lock.json").read_text() == content


def test_a_read_only_lock_stays_as_it_is(tmp_path: Path):
    lock = write_lock(tmp_path / "models.lock.json")
    before = lock.read_bytes()
    lock.chmod(0o444)
    with HubEmulator({"o/r": REPO}) as hub:
        answer = models(tmp_path, *FROM_HUB, "--json", HF_ENDPOINT=hub.url)

    assert (answer.status, answer.json["error"]["code"]) == (1, "lock_not_saved")
    assert "read-only" in answer.err
    assert lock.read_bytes() == before
    assert not list(tmp_path.glob(".*lock*"))


def test_removing_says_what_is_left_on_the_volume(tmp_path: Path):
    with HubEmulator({"o/r": REPO}) as hub:
        models(tmp_path, *FROM_HUB, HF_ENDPOINT=hub.url)
        models(tmp_path, "sync", HF_ENDPOINT=hub.url)

    removed = models(tmp_path, "remove", "vae/a.safetensors", "--json")
    collected = models(tmp_path, "gc", "--json")

    assert (removed.json["removed"], removed.json["on_volume"]) == (["vae/a.safetensors"], ["vae/a.safetensors"])
    assert entries(tmp_path) == []
    assert collected.json["files"] == ["vae/a.safetensors"]


def test_removing_what_is_not_there_names_what_may_be_meant(tmp_path: Path):
    sources = [{"type": "url", "url": "https://host/a"}]
    places = [{"directory": directory, "name": "a.safetensors", "sources": sources} for directory in ("vae", "loras")]
    write_lock(tmp_path / "models.lock.json", *places)

    unknown = models(tmp_path, "remove", "vae/b.safetensors", "--json")
    ambiguous = models(tmp_path, "remove", "a.safetensors")

    assert (unknown.status, unknown.json["error"]["code"]) == (2, "unknown_model")
    assert "did you mean vae/a.safetensors" in unknown.err
    assert ambiguous.status == 2
    assert "vae/a.safetensors and loras/a.safetensors" in ambiguous.err
    assert len(entries(tmp_path)) == 2
