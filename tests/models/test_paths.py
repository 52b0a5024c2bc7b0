"""Which paths a lock may name, and what stands in the way of a file on the volume."""

import json
from pathlib import Path

import pytest

from comfyport.errors import InvalidLock, ModelError
from comfyport.models import lock
from comfyport.models.paths import folded, no_links_on_the_way, remote_path, safe_path
from comfyport.models.volume import Volume


@pytest.mark.parametrize(
    "path",
    [
        "checkpoints/a.safetensors",
        "insightface/models/antelopev2",
        "loras/SDXL & co (v1.0) [fp16], 50%+.safetensors",
        "loras/日本語 ü é.safetensors",
        "loras/e\u0301.safetensors",
        "loras/\U0001f469\u200d\U0001f680.safetensors",
        "console/com10/auxiliary/nullable/lpt.bin",
        "n" * 200,
    ],
)
def test_accepts(path: str):
    assert safe_path(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "plain relative path"),
        ("/etc/passwd", "plain relative path"),
        ("//server/share", "plain relative path"),
        ("a//b", "plain relative path"),
        ("a/", "plain relative path"),
        ("./a", "plain relative path"),
        ("a/./b", "plain relative path"),
        ("..", "'..'"),
        ("../a", "'..'"),
        ("a/../../b", "'..'"),
        ("a/..", "'..'"),
        ("..\\a", "backslash"),
        ("\\\\server\\share", "backslash"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\x7fb", "control character"),
        ("a\x85b", "control character"),
        ("a\u2028b", "control character"),
        ("a\u202egnp.exe", "direction"),
        ("a\u2066b", "direction"),
        ("C:/a", "colon"),
        ("C:a", "colon"),
        ("a:stream", "colon"),
        ("a*", "one of"),
        ("a?", "one of"),
        ("a|b", "one of"),
        ("NUL", "device"),
        ("nul.safetensors", "device"),
        ("nul .safetensors", "device"),
        ("a/CON/b", "device"),
        ("Com1.bin", "device"),
        ("lpt\u00b9", "device"),
        ("conin$", "device"),
        (".hidden", "dot"),
        ("a/.comfyport/b", "dot"),
        ("...", "dot"),
        ("a.", "ends with"),
        ("a /b", "ends with"),
        ("a\u00a0", "ends with"),
        (" a", "begins with a space"),
        ("n" * 201, "200 bytes"),
        ("ü" * 101, "200 bytes"),
        ("/".join(["n" * 199] * 6), "1000 bytes"),
        ("a\ud800", "surrogates not allowed"),
    ],
)
def test_refuses(path: str, reason: str):
    with pytest.raises(ValueError, match=reason.replace("'..'", r"'\.\.'")):
        safe_path(path)


def test_a_lock_names_entry_and_field_of_such_a_path(tmp_path: Path):
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "../a"}
    how = {"format": "zip", "into": "a/../../b"}
    bad = {"directory": "com1", "name": "aux", "sources": [source], "archive": how}
    file = tmp_path / "models.lock.json"
    file.write_text(json.dumps({"version": 1, "models": [bad]}))

    with pytest.raises(InvalidLock) as told:
        lock.load(file)

    assert [problem.partition(": ")[0] for problem in told.value.details["problems"]] == ["models[0] (aux)"] * 4
    for problem in ("directory: ", "name: ", "archive.into: ", "sources.0.file: "):
        assert f"models[0] (aux): {problem}must not contain" in told.value.message


def test_a_file_of_a_repository_may_have_names_that_no_volume_takes():
    assert remote_path("fp16: a?/.hidden/aux") == "fp16: a?/.hidden/aux"


@pytest.mark.parametrize(
    ("one", "other"), [("A/b", "a/B"), ("\u00e9", "e\u0301"), ("\u212b", "\u00e5"), ("stra\u00dfe", "STRASSE")]
)
def test_paths_that_may_be_one_file_are_told(one: str, other: str):
    assert folded(one) == folded(other)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("link", ["loras", "loras/deep", "loras/deep/deeper"])
def test_a_folder_that_leads_off_the_volume_is_named(volume: Volume, elsewhere: Path, link: str):
    (volume.models / link).parent.mkdir(parents=True, exist_ok=True)
    (volume.models / link).symlink_to(elsewhere)

    with pytest.raises(ModelError) as told:
        no_links_on_the_way(volume.root, "loras/deep/deeper/a.safetensors")

    assert str(volume.models / link) in told.value.message
    assert str(elsewhere) in told.value.message


def test_a_folder_that_leads_to_nowhere_off_the_volume_is_named_too(volume: Volume, tmp_path: Path):
    (volume.models / "loras").symlink_to(tmp_path / "not there yet")

    with pytest.raises(ModelError, match="leads off the volume"):
        no_links_on_the_way(volume.root, "loras/a.safetensors")


def test_a_folder_that_leads_elsewhere_on_the_volume_is_followed(volume: Volume):
    (volume.root / "shared").mkdir()
    (volume.models / "loras").symlink_to("../shared")

    no_links_on_the_way(volume.root, "loras/a.safetensors")


def test_models_itself_may_be_a_link(tmp_path: Path, elsewhere: Path):
    place = Volume(tmp_path / "volume")
    place.root.mkdir()
    place.models.symlink_to(elsewhere)
    (elsewhere / "real").mkdir()
    (elsewhere / "loras").symlink_to("real")

    no_links_on_the_way(place.root, "loras/a.safetensors")
