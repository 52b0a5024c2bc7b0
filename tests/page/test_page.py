"""The status page of a container: what it shows of a download, of jobs and of the log, and how it runs a workflow."""

import hashlib
import io
import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from tests import workflows
from tests.conftest import ROOT, free_port, write_lock
from tests.models.relays import Tunnel
from tests.page.conftest import WIDTHS, Visit
from tests.serve.conftest import Address, job, open_door, slow_job

MODEL = bytes(range(256)) * 8_000
KEY = "a-key-of-this-test"
NewVisit = Callable[..., Visit]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A door without a key, whose sampling steps take 0.2 s and show previews."""
    with ExitStack() as stack:
        arguments = "--step-seconds 0.2 --preview-method auto"
        yield open_door(stack, tmp_path_factory.mktemp("door"), {"COMFYUI_ARGS": arguments})


def dropped(visit: Visit, workflow: Any, name: str = "workflow.json") -> Page:
    """The page with a workflow dropped on it."""
    visit.drop(name, json.dumps(workflow).encode())
    return visit.page


def run_it(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()


def finished(page: Page) -> None:
    """Waits until the latest job has ended well and its picture is there."""
    card = page.locator(".card").first
    expect(card).to_have_attribute("data-status", "COMPLETED")
    expect(card.locator(".made img").first).to_have_js_property("complete", True)


def test_a_download_is_watched_to_its_end_and_a_job_to_its_picture(visit: NewVisit, tmp_path: Path):
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "flux.safetensors"}
    entry = {"directory": "checkpoints", "name": "flux.safetensors", "sources": [source]}
    known = {"size": len(MODEL), "sha256": hashlib.sha256(MODEL).hexdigest()}
    write_lock(tmp_path / "models.lock.json", entry | known)
    first = visit()
    with HubEmulator({"owner/name": Repo({"flux.safetensors": MODEL})}, rate=20_000) as hub, ExitStack() as stack:
        door = open_door(stack, tmp_path, {"HF_ENDPOINT": hub.url, "COMFYPORT_API_KEY": KEY, "STARTUP_WAIT": "all"})
        page = first.open(door.url, locked=True)
        first.give(KEY)

        expect(page.locator("#run")).to_be_visible()
        expect(page.locator("#state")).to_have_text("Downloading models")
        expect(page.locator("#download-text")).to_have_text(re.compile(r"kB of 2\.0 MB · \d+ kB/s · .+ left"))
        expect(page.locator("#files li")).to_contain_text("flux.safetensors")
        assert 0 < page.locator("#download-bar").evaluate("bar => bar.value / bar.max") < 1
        first.photograph("download")
        hub.rate = None

        expect(page.locator("#state")).to_have_text("Ready")
        expect(page.locator("#ready-files summary")).to_have_text("1 model ready, 2.0 MB")
        expect(page.locator("#download")).to_be_hidden()
        dropped(first, workflows.scaled(0x1C7C54))
        run_it(page)
        finished(page)
        expect(page.locator("#job-list img").first).to_be_visible()
        first.photograph("done")

    assert first.refusals == ["401"]
    assert KEY not in "".join(request.url for request in first.requests)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_workflow_is_run_from_the_form_at_each_width(visit: NewVisit, address: Address, width: str, tmp_path: Path):
    there = visit()
    there.page.set_viewport_size(WIDTHS[width])
    there.open(address.url)
    page = dropped(there, workflows.scaled(0))
    page.get_by_label("color").fill("255")
    run_it(page)
    finished(page)

    with page.expect_download() as download:
        page.locator(".card").first.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "saved.png")

    assert Image.open(tmp_path / "saved.png").getpixel((0, 0)) == (0, 0, 255)
    assert there.overflow() <= 0
    assert there.refusals == []


def test_a_job_shows_its_steps_and_previews_and_can_be_cancelled(visit: NewVisit, address: Address):
    there = visit()
    there.open(address.url)
    page = dropped(there, workflows.sampled("a.safetensors", steps=1000))
    run_it(page)
    card = page.locator(".card").first

    expect(card.locator(".figures").first).to_have_text(re.compile(r"KSampler, step \d+ of 1000"))
    expect(card.locator(".preview")).to_be_visible()
    expect(page.locator("#job-list li").first).to_contain_text("Running")
    there.photograph("running")
    card.get_by_role("button", name="Cancel").click()

    expect(card).to_have_attribute("data-status", "CANCELLED")
    expect(page.locator("#job-list li").first).to_contain_text("Cancelled")


def test_the_page_asks_for_the_key_and_tells_a_wrong_one(visit: NewVisit, tmp_path: Path):
    there = visit()
    with ExitStack() as stack:
        door = open_door(stack, tmp_path, {"COMFYPORT_API_KEY": KEY})
        page = there.open(door.url, locked=True)

        expect(page.locator("#worker")).to_contain_text("ComfyUI")
        expect(page.locator("#run")).to_be_hidden()
        there.give("another-key")
        expect(page.locator("#key-problem")).to_have_text("This key was refused.")
        there.photograph("locked")
        assert page.evaluate("sessionStorage.length") == 0
        there.give(KEY)
        expect(page.locator("#run")).to_be_visible()
        page.reload()
        expect(page.locator("#run")).to_be_visible()
        page.get_by_role("button", name="Lock").click()
        expect(page.locator("#key")).to_be_visible()

        assert page.evaluate("sessionStorage.length") == 0
        assert KEY not in door.container.output
    assert KEY not in "".join(request.url for request in there.requests)


def test_a_server_that_goes_away_is_told_and_found_again(visit: NewVisit, tmp_path: Path):
    there = visit()
    port = str(free_port())
    with ExitStack() as stack:
        open_door(stack, tmp_path, {"PORT": port})
        page = there.open(f"http://127.0.0.1:{port}")
        expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#away")).to_be_visible()
    expect(page.locator("#state")).to_have_text("Away")
    there.photograph("away")

    with ExitStack() as stack:
        open_door(stack, tmp_path, {"PORT": port})
        expect(page.locator("#away")).to_be_hidden()
        expect(page.locator("#state")).to_have_text("Ready")

    # The browser says itself that nobody listens.
    assert all("ERR_CONNECTION" in complaint for complaint in there.complaints)
    there.complaints.clear()


def test_a_job_is_followed_on_when_the_connection_breaks(visit: NewVisit, address: Address):
    there = visit()
    with Tunnel(int(address.url.rpartition(":")[2])) as tunnel:
        page = there.open(f"http://127.0.0.1:{tunnel.port}")
        dropped(there, workflows.sampled("a.safetensors", steps=12))
        run_it(page)
        expect(page.locator(".card .figures").first).to_have_text(re.compile("step"))
        tunnel.cut()
        finished(page)

    followed = [request.headers for request in there.requests if "/stream/" in request.url]
    assert len(followed) > 1
    assert int(followed[-1]["last-event-id"]) > 1
    # The browser says itself that connections broke.
    there.complaints.clear()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{nonsense", "This is no JSON"),
        (b"[1, 2]", "no workflow"),
        (b"{}", "no workflow"),
        (b'{"last_node_id": 9, "nodes": [], "links": []}', "the format of ComfyUI's editor"),
        (b'{"1": {"class": "KSampler"}}', "class_type"),
        (b'{"1": null}', "class_type"),
        (bytes(range(256)), "This is no JSON"),
        ((ROOT / "examples/quickstart/input.png").read_bytes(), "This picture has no workflow in it"),
        ((ROOT / "examples/quickstart/input.png").read_bytes()[:40], "This picture has no workflow in it"),
    ],
)
def test_a_file_that_is_no_workflow_is_refused_in_words(visit: NewVisit, address: Address, content: bytes, told: str):
    there = visit()
    page = there.open(address.url)
    there.drop("file", content)

    expect(page.locator("#workflow-problem")).to_contain_text(told)
    expect(page.locator("#form")).to_be_hidden()


HOSTILE = """"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"""


def test_markup_in_a_workflow_is_text_and_nothing_else(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    hostile = workflows.node(f"Node{HOSTILE}", **{f"text{HOSTILE}": HOSTILE, "image": ["1", 0]})
    dropped(there, {f"7{HOSTILE}": hostile | {"_meta": {"title": HOSTILE}}}, name=f"{HOSTILE}.json")

    expect(page.get_by_label(f"text{HOSTILE}")).to_have_value(HOSTILE)
    run_it(page)
    expect(page.locator(".card .problem")).to_contain_text(HOSTILE)
    expect(page.locator("#job-list li").first).to_contain_text("Failed")

    assert page.evaluate("window.hacked") is None
    assert page.locator("body script, [onerror]").count() == 0


def test_markup_in_what_a_node_shows_is_text_and_nothing_else(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    shown = workflows.node("PreviewAny", source=HOSTILE)
    dropped(there, {"1": shown})
    run_it(page)

    expect(page.locator(".card .transcript")).to_have_text(HOSTILE)
    assert page.evaluate("window.hacked") is None


def test_scripts_from_elsewhere_or_in_the_markup_do_not_run(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)

    refused = page.evaluate(
        """() => {
            const script = document.createElement("script");
            try { script.textContent = "window.hacked = 1"; document.body.append(script); } catch (error) {}
            try { document.body.innerHTML = "<p>markup</p>"; return false; } catch (error) { return error.name; }
        }"""
    )

    assert refused == "TypeError"
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in complaint or "Trusted" in complaint for complaint in there.complaints)
    there.complaints.clear()


def picture_with(**texts: str) -> bytes:
    """A PNG such as ComfyUI's SaveImage writes."""
    info = PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_the_workflow_of_a_picture_is_read(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    workflow = workflows.sampled("a.safetensors") | {"8": workflows.node("PreviewAny", source="höher")}
    workflow["2"]["is_changed"] = [float("nan")]
    there.drop("made.png", picture_with(prompt=json.dumps(workflow), workflow='{"nodes": []}'))

    expect(page.get_by_label("text", exact=True)).to_have_value("a boat")
    expect(page.locator("#workflow-facts")).to_have_text("7 nodes")


def test_a_seed_beyond_what_the_browser_can_count_is_sent_as_it_is(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    dropped(there, workflows.sampled("a.safetensors", seed=18446744073709551615, steps=1))
    seed = page.get_by_label("seed", exact=True)
    expect(seed).to_have_value("18446744073709551615")
    run_it(page)
    finished(page)
    seed.fill("18446744073709551613")
    page.get_by_label("steps").fill("2")
    run_it(page)
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_role("button", name="New random seed").click()
    expect(seed).not_to_have_value("18446744073709551613")

    bodies = [request.post_data or "" for request in there.requests if request.url.endswith("/run")]
    assert '"seed":18446744073709551615' in bodies[0]
    assert '"set":{}' in bodies[0]
    assert '"set":{"4.seed":18446744073709551613,"4.steps":2}' in bodies[1]


def test_a_seed_can_be_new_for_each_run(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    dropped(there, workflows.sampled("a.safetensors", seed=5, steps=1))
    page.get_by_label("new each run").check()
    for number in (1, 2):
        run_it(page)
        expect(page.locator(".card")).to_have_count(number)

    seeds = [request.post_data_json["input"]["set"]["4.seed"] for request in there.requests if request.method == "POST"]
    assert len({5, *seeds}) == 3


def test_samplers_and_models_are_chosen_from_what_there_is(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    dropped(there, workflows.sampled("gone.safetensors", steps=1))
    page.locator("#more summary").click()
    model = page.get_by_label("ckpt_name")
    expect(model.locator("option")).to_have_text(["gone.safetensors", "a.safetensors"])
    model.select_option("a.safetensors")
    page.get_by_label("sampler_name").select_option("dpmpp_2m")
    run_it(page)

    finished(page)
    (sent,) = [request.post_data_json for request in there.requests if request.method == "POST"]
    assert sent["input"]["set"] == {"1.ckpt_name": "a.safetensors", "4.sampler_name": "dpmpp_2m"}


def test_sound_video_and_text_are_shown_as_what_they_are(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    dropped(
        there,
        {
            "1": workflows.node("EmptyAudio", duration=0.1, sample_rate=44100, channels=2),
            "2": workflows.node("SaveAudio", audio=["1", 0], filename_prefix="sound"),
            "3": workflows.node("EmptyImage", width=16, height=16, batch_size=2, color=255),
            "4": workflows.node("SaveWEBM", images=["3", 0], filename_prefix="video", codec="vp9", fps=8.0, crf=32.0),
            "5": workflows.node("PreviewAny", source="a text"),
        },
    )
    run_it(page)
    card = page.locator(".card")

    expect(card.locator("audio")).to_be_visible()
    expect(card.locator("video")).to_be_visible()
    expect(card.locator(".transcript")).to_have_text("a text")
    expect(card.get_by_role("link", name="Download")).to_have_count(2)
    expect(page.locator("#job-list li").first).to_contain_text("1 video, 1 sound, 1 text")
    there.photograph("media")
    # The emulator's video is none that plays.
    there.complaints.clear()


def test_a_picture_is_given_to_the_node_that_loads_one(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    dropped(there, workflows.inverted("in.png"))
    page.get_by_label("image", exact=True).set_input_files(ROOT / "examples/quickstart/input.png")
    run_it(page)

    finished(page)
    expect(page.locator(".card .made img")).to_have_js_property("naturalWidth", 96)


def test_a_job_that_somebody_else_sent_is_listed_and_opened(visit: NewVisit, address: Address):
    there = visit()
    sent = address.post("/runsync", job(0x336699)).json()
    page = there.open(address.url)
    newest = page.locator("#job-list button").first
    expect(newest.locator("img")).to_be_visible()
    newest.click()

    finished(page)
    expect(page.locator(".card")).to_have_attribute("aria-label", f"Job {sent['id']}")
    page.get_by_role("button", name="Enlarge").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_log_is_shown_when_it_is_opened(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    expect(page.locator("#state")).to_have_text("Ready")
    asked_before = [request.url for request in there.requests if "/logs?" in request.url]
    page.locator("#log summary").click()

    expect(page.locator("#log-lines")).to_contain_text("ready for jobs")
    assert asked_before == []


def test_everything_can_be_reached_with_the_keyboard_alone(visit: NewVisit, address: Address):
    there = visit()
    page = there.open(address.url)
    example = page.get_by_role("button", name="Try one that needs no model.")
    expect(example).to_be_visible()
    while not example.evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    send = page.get_by_role("button", name="Run", exact=True)
    expect(send).to_be_visible()
    while not send.evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    finished(page)


def test_nothing_stands_in_the_way_of_people_who_use_it_otherwise(visit: NewVisit, tmp_path: Path):
    # axe builds its report from parts that the page's own policy would not let in.
    there = visit(bypass_csp=True)
    with ExitStack() as stack:
        door = open_door(stack, tmp_path, {"COMFYPORT_API_KEY": KEY, "COMFYUI_ARGS": "--preview-method auto"})
        page = there.open(door.url, locked=True)
        locked = there.flaws()
        there.give(KEY)
        expect(page.locator("#run")).to_be_visible()
        dropped(there, {"1": workflows.node("NoSuchNode", text="a boat", image=True)})
        run_it(page)
        expect(page.locator(".card .problem")).to_be_visible()
        dropped(there, workflows.sampled("a.safetensors", steps=2))
        run_it(page)
        finished(page)
        page.locator("#log summary").click()
        expect(page.locator("#log-lines p").first).to_be_visible()
        page.locator("#more summary").click()
        opened = there.flaws()

    assert locked == []
    assert opened == []


def test_a_stop_does_not_wait_for_a_page_that_is_open(visit: NewVisit, tmp_path: Path):
    there = visit()
    with ExitStack() as stack:
        door = open_door(stack, tmp_path, {})
        page = there.open(door.url)
        dropped(there, slow_job(1000)["input"]["workflow"])
        run_it(page)
        expect(page.locator(".card")).to_be_visible()

        assert door.container.end(signal.SIGTERM, within=30) == 0
    there.complaints.clear()


def test_the_page_may_be_left_out(tmp_path: Path):
    with ExitStack() as stack:
        door = open_door(stack, tmp_path, {"STATUS_PAGE": "false"})

        answers = {path: requests.get(door.url + path, timeout=30).status_code for path in ("/", "/jobs", "/logs")}

    assert set(answers.values()) == {404}
