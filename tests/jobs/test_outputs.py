"""What a job's nodes report, and what becomes of it in the answer."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from comfyport.comfyui.client import StoredFile
from comfyport.comfyui.results import in_order, made_anew, prompt_node
from comfyport.comfyui.storage import LocalStorage
from comfyport.errors import OutputFailed
from comfyport.jobs import outputs
from comfyport.jobs.media import media_type
from comfyport.jobs.reports import reported_files, reported_texts
from comfyport.jobs.result import Timings, answer
from comfyport.serve.host import Host
from tests import workflows
from tests.conftest import run
from tests.workflows import node


def file(name: str, subfolder: str = "", type: str = "output") -> dict[str, Any]:
    return {"filename": name, "subfolder": subfolder, "type": type}


@pytest.mark.parametrize(
    ("key", "name", "kind"),
    [
        ("images", "a.png", "images"),
        ("images", "a.mp4", "images"),
        ("gifs", "a.mp4", "videos"),
        ("gifs", "a.gif", "videos"),
        ("video", "a.webm", "videos"),
        ("videos", "a.mkv", "videos"),
        ("audio", "a.flac", "audio"),
        ("3d", "a.glb", "files"),
        ("latents", "a.latent", "files"),
        ("files", "a.json", "files"),
        ("files", "a.mov", "videos"),
        ("a_images", "a.webp", "images"),
        ("a_word_of_its_own", "a.opus", "audio"),
        ("a_word_of_its_own", "a.safetensors", "files"),
    ],
)
def test_a_file_stands_in_the_list_of_its_kind(key: str, name: str, kind: str):
    [report] = reported_files({"7": {key: [file(name, "sub")]}})

    assert (report.kind, report.node_id, report.stored) == (kind, "7", StoredFile(name, "sub", "output"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.svg", "image/svg+xml"),
        ("a.exr", "image/x-exr"),
        ("a.webm", "video/webm"),
        ("a.mp4", "video/mp4"),
        ("a.mkv", "video/x-matroska"),
        ("a.flac", "audio/flac"),
        ("a.mp3", "audio/mpeg"),
        ("a.opus", "audio/ogg"),
        ("a.wav", "audio/wav"),
        ("a.glb", "model/gltf-binary"),
        ("a.obj", "model/obj"),
        ("a.json", "application/json"),
        ("a.txt", "text/plain"),
        ("a.safetensors", "application/octet-stream"),
        ("a.latent", "application/octet-stream"),
        ("a.no_such_suffix", "application/octet-stream"),
        ("a.tar.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_media_type_comes_from_the_name_alone(name: str, expected: str):
    assert media_type(name) == expected


def test_a_file_that_is_reported_twice_is_taken_once():
    shown = {"images": [file("a.png", "x"), file("a.png", "./x/")], "files": [file("x/a.png")]}

    assert len(list(reported_files({"1": shown, "2": shown}))) == 1


def test_the_file_that_preview_3d_shows_need_not_be_there():
    [report] = reported_files({"1": {"result": ["mesh/cube.glb", {"position": 1}]}})

    assert (report.stored, report.certain) == (StoredFile("cube.glb", "mesh", "output"), False)


@pytest.mark.parametrize(
    "shown",
    [
        None,
        [],
        {"animated": [True]},
        {"images": None},
        {"images": ["a.png"]},
        {"images": [{"filename": 3}]},
        {"images": [{"filename": ""}]},
        {"result": ["a text", None]},
        {"menu": [{"filename": "a.png"}]},
    ],
)
def test_what_names_no_file_is_passed_over(shown: Any):
    assert list(reported_files({"1": shown})) == []


def test_text_is_taken_as_one_or_many():
    shown = {"1": {"text": "one"}, "2": {"string": ["two", 3]}, "3": {"tags": [["four"]], "unknown": ["five"]}}

    assert list(reported_texts(shown)) == [("1", "one"), ("2", "two"), ("2", "3"), ("3", "four")]


def test_results_stand_in_the_workflows_order_with_those_of_expanded_nodes():
    workflow = {"9": node("A"), "2": node("B")}

    assert list(in_order({"2": {}, "9.0.0.1": {}, "x": {}, "9": {}}, workflow)) == ["9.0.0.1", "9", "2", "x"]
    assert prompt_node("9.0.0.1") == "9"


def test_a_node_is_made_anew_by_one_input_more():
    workflow = {"1": node("A", a=1), "2": node("B", b=2)}

    changed = made_anew(workflow, ["2"])

    assert changed["1"] == workflow["1"]
    assert set(changed["2"]["inputs"]) > {"b"}
    assert changed != made_anew(workflow, ["2"])


async def test_a_file_that_is_gone_is_told_beside_the_others(tmp_path: Path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "a.png").write_bytes(b"a")
    shown = {"1": {"images": [file("a.png"), file("gone.png")]}}

    collected = await outputs.collect(shown, outputs.wanted(shown, include_temp=False), LocalStorage(tmp_path))

    assert [(output.stored.filename, output.size) for output in collected.files] == [("a.png", 1)]
    assert ["gone.png" in problem for problem in collected.problems] == [True]


@pytest.mark.parametrize(
    "bad", [file("../../a"), file("/etc/passwd"), file("a", "../.."), file("a", type="secret"), file("a" * 300)]
)
async def test_a_file_outside_of_comfyuis_folders_is_not_read(tmp_path: Path, bad: dict[str, Any]):
    (tmp_path / "a").write_bytes(b"secret")
    shown = {"1": {"images": [bad]}}

    with pytest.raises(OutputFailed):
        await outputs.collect(shown, outputs.wanted(shown, include_temp=False), LocalStorage(tmp_path / "comfyui"))


def frames(**last: Any) -> dict[str, Any]:
    return {"1": node("EmptyImage", width=32, height=32, batch_size=2, color=0x808080)} | last


def only(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    """The one item of an answer, which has no other."""
    assert "error" not in answer, answer
    kinds = {name: items for name, items in answer.items() if name != "timings" and items}
    assert set(kinds) == {kind}
    [item] = kinds[kind]
    return item


def test_a_video_of_comfyuis_own_is_under_images(host: Host):
    video = {
        "2": node("CreateVideo", images=["1", 0], fps=8.0),
        "3": node("SaveVideo", video=["2", 0], filename_prefix="clips/clip", format="auto", codec="auto"),
    }

    item = only(run(host, {"workflow": frames(**video)}), "images")

    content = base64.b64decode(item["data"])
    assert (item["media_type"], item["subfolder"], item["node_id"], item["type"]) == (
        "video/mp4", "clips", "3", "base64",
    )  # fmt: skip
    assert (item["size"], item["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert content[4:8] == b"ftyp"


def test_a_webm_is_under_images(host: Host):
    webm = {"2": node("SaveWEBM", images=["1", 0], filename_prefix="w", codec="vp9", fps=8.0, crf=32.0)}

    assert only(run(host, {"workflow": frames(**webm)}), "images")["media_type"] == "video/webm"


def test_an_animated_picture_is_under_images(host: Host):
    settings = {"fps": 6.0, "lossless": True, "quality": 80, "method": "default"}
    saved = {"2": node("SaveAnimatedWEBP", images=["1", 0], filename_prefix="a", **settings)}

    assert only(run(host, {"workflow": frames(**saved)}), "images")["media_type"] == "image/webp"


def test_a_latent_is_a_file(host: Host):
    workflow = {
        "1": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "2": node("SaveLatent", samples=["1", 0], filename_prefix="latents/l"),
    }

    item = only(run(host, {"workflow": workflow}), "files")

    assert item["filename"].endswith(".latent")
    assert item["media_type"] == "application/octet-stream"


def test_text_is_delivered_without_a_file(host: Host):
    answer = run(host, {"workflow": {"1": node("PreviewAny", source="a boat")}})

    item = only(answer, "text")
    assert (item["data"], item["type"], item["node_id"]) == ("a boat", "text", "1")
    assert answer["images"] == []
    assert "status" not in answer


def test_temporary_files_are_delivered_if_asked_for(host: Host):
    workflow = workflows.scaled(0x335577) | {"3": node("PreviewImage", images=["2", 0])}

    answer = run(host, {"workflow": workflow, "output": {"include_temp": True}})

    assert only(answer, "images")["media_type"] == "image/png"


def test_sound_is_under_audio(emulated: Host):
    workflow = {
        "1": node("EmptyAudio", duration=0.5, sample_rate=44100, channels=1),
        "2": node("SaveAudio", audio=["1", 0], filename_prefix="audio/a"),
    }

    assert only(run(emulated, {"workflow": workflow}), "audio")["media_type"] == "audio/flac"


def test_what_video_helper_suite_saves_is_under_videos(emulated: Host):
    item = only(run(emulated, {"workflow": frames(**{"2": combined()})}), "videos")

    assert (item["media_type"], base64.b64decode(item["data"])[:3]) == ("image/gif", b"GIF")


def combined() -> dict[str, Any]:
    settings = {"frame_rate": 8.0, "loop_count": 0, "format": "image/gif", "pingpong": False, "save_output": True}
    return node("VHS_VideoCombine", images=["1", 0], filename_prefix="v", **settings)


def test_the_file_that_preview_3d_shows_is_delivered_if_it_is_there(emulated: Host):
    folder = emulated.worker.settings.run_folder / "comfyui" / "output" / "mesh"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cube.glb").write_bytes(b"glTF")

    there = run(emulated, {"workflow": {"1": node("Preview3D", model_file="mesh/cube.glb")}})
    absent = run(emulated, {"workflow": {"1": node("Preview3D", model_file="mesh/absent.glb")}})

    assert only(there, "files")["media_type"] == "model/gltf-binary"
    assert absent["status"] == "success_no_images"


def test_what_could_not_be_read_stands_beside_the_rest():
    item = {"filename": "a.png"}

    assert answer({"images": [item]}, ("b.png is gone",), Timings()) == {
        "images": [item],
        "errors": ["b.png is gone"],
        "timings": {},
    }
    assert answer({}, (), Timings()) == {"status": "success_no_images", "images": [], "timings": {}}
