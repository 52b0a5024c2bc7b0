"""What the status page is made of: its files, the latest jobs with small pictures, and the end of the log."""

import base64
import io
import logging
from typing import Any

import pytest
import requests
from PIL import Image

from comfyport.errors import PictureMissing
from comfyport.serve import logs
from comfyport.serve.job import Job
from comfyport.serve.thumbnails import PIXELS, thumbnail
from tests import workflows
from tests.conftest import png
from tests.serve.conftest import Address, Door, job

KEY = "a-key-of-this-test"
RIGHT = {"Authorization": f"Bearer {KEY}"}


def done(*images: dict[str, Any]) -> Job:
    """A job that ended well with these images in its answer."""
    return Job("a", status="COMPLETED", answer={"images": list(images)})


def item(data: str, media_type: str = "image/png", type: str = "base64") -> dict[str, Any]:
    return {"filename": "a.png", "type": type, "data": data, "media_type": media_type}


def test_the_latest_jobs_are_listed_without_what_was_sent_and_without_results(door: Door):
    address = door()
    first, failed = (
        address.post("/runsync", {"input": {"workflow": workflow}}).json()["id"]
        for workflow in (workflows.scaled(prefix="secret-prompt"), {"1": workflows.node("NoSuchNode")})
    )

    answer = address.get("/jobs")
    newest, oldest = answer.json()["jobs"]

    assert (newest["id"], newest["status"], newest["errorCode"]) == (failed, "FAILED", "workflow_rejected")
    assert (oldest["id"], oldest["outputs"], oldest["thumbnail"]) == (first, {"images": 1}, True)
    assert oldest["queuedAt"].endswith("+00:00")
    assert "secret-prompt" not in answer.text
    assert "data" not in oldest
    assert len(address.get("/jobs?limit=1").json()["jobs"]) == 1
    assert address.get("/jobs?limit=0").status_code == 400


def test_a_jobs_picture_is_shown_small(shared_door: Address):
    sent = shared_door.post("/runsync", job(0x3366CC)).json()

    answer = shared_door.get(f"/jobs/{sent['id']}/thumbnail")

    assert answer.headers["Content-Type"] == "image/webp"
    red, green, blue = Image.open(io.BytesIO(answer.content)).convert("RGB").getpixel((0, 0))
    assert max(abs(red - 0x33), abs(green - 0x66), abs(blue - 0xCC)) < 8


def test_a_job_without_a_picture_and_an_unknown_one_are_told_apart(shared_door: Address):
    failed = shared_door.post("/runsync", {"input": {"workflow": {"1": workflows.node("NoSuchNode")}}}).json()

    answers = [shared_door.get(f"/jobs/{job_id}/thumbnail") for job_id in (failed["id"], "none")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert [answer.json()["error_code"] for answer in answers] == ["picture_missing", "job_unknown"]


def test_a_large_picture_is_made_small_and_keeps_its_shape():
    small = Image.open(io.BytesIO(thumbnail(done(item(png((1200, 600), (9, 9, 9)))))))

    assert small.size == (PIXELS, PIXELS // 2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "LA", "RGBA", "CMYK"])
def test_a_picture_of_any_mode_is_made_small(mode: str):
    buffer = io.BytesIO()
    format_ = "JPEG" if mode == "CMYK" else "PNG"
    Image.new(mode, (8, 8)).save(buffer, format_)
    picture = item(base64.b64encode(buffer.getvalue()).decode(), f"image/{format_.lower()}")

    assert Image.open(io.BytesIO(thumbnail(done(picture)))).size == (8, 8)


@pytest.mark.parametrize(
    "images",
    [
        [],
        [item("bm90IGEgcGljdHVyZQ==")],
        [item("%%%")],
        [item(png((64, 64), (1, 2, 3))[:80])],
        [item(png((8, 8), (1, 2, 3)), media_type="image/jpeg")],
        [item("https://example.com/a.png", type="s3_url")],
        [item(png((8, 8), (1, 2, 3)), media_type="image/x-exr")],
    ],
    ids=["none", "no picture", "no base64", "cut short", "another format", "in a bucket", "of an unknown kind"],
)
def test_what_cannot_be_made_small_is_told(images: list[dict[str, Any]]):
    with pytest.raises(PictureMissing):
        thumbnail(done(*images))


def test_the_key_guards_all_but_the_page_itself(door: Door):
    address = door(COMFYPORT_API_KEY=KEY)
    guarded = ("/jobs", "/jobs/a/thumbnail", "/logs", "/choices?node=A", "/v2/any/jobs", "/v2/any/logs")

    without = {address.get(path).status_code for path in guarded}
    with_key = {path: address.get(path, headers=RIGHT).status_code for path in guarded}

    assert without == {401}
    assert with_key == dict.fromkeys(guarded, 200) | {"/jobs/a/thumbnail": 404}
    assert {address.get(path).status_code for path in ("/", "/page/app.js", "/page/style.css")} == {200}


def test_the_page_lets_nothing_in_from_elsewhere(shared_door: Address):
    page = shared_door.get("/")

    policy = page.headers["Content-Security-Policy"]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "://" not in page.text.replace("http://www.w3.org", "")


def test_a_browser_that_has_the_page_is_not_sent_it_again(shared_door: Address):
    tag = shared_door.get("/").headers["ETag"]

    again = shared_door.get("/", headers={"If-None-Match": tag})
    other = shared_door.get("/", headers={"If-None-Match": '"another"'})

    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200
    assert requests.head(f"{shared_door.url}/", timeout=30).status_code == 200


@pytest.mark.parametrize("name", ["none.js", "__init__.py", "..%2fhttp_app.py", "%2e%2e/http_app.py", "../http_app.py"])
def test_nothing_but_the_pages_own_files_is_served(shared_door: Address, name: str):
    request = requests.Request("GET", "http://placeholder").prepare()
    request.url = f"{shared_door.url}/page/{name}"
    with requests.Session() as session:
        answer = session.send(request, timeout=30)

    assert (answer.status_code, answer.json()["error_code"]) == (404, "route_unknown")


def test_the_page_does_not_take_what_it_is_sent(shared_door: Address):
    answer = shared_door.post("/")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_the_log_has_comfyuis_lines_and_goes_on_where_it_was_left(shared_door: Address):
    shared_door.post("/runsync", job())
    lines = shared_door.get("/logs").json()["lines"]
    numbers = [line["number"] for line in lines]

    rest = shared_door.get(f"/logs?after={numbers[0]}").json()["lines"]

    assert any("comfyui: got prompt" in line["text"] for line in lines)
    assert numbers == sorted(set(numbers))
    assert rest[0]["number"] == numbers[1]
    assert shared_door.get("/logs?after=1000000").json() == {"lines": []}


def test_a_secret_of_the_environment_does_not_show(door: Door):
    address = door(COMFYUI_SECRETS="MY_TOKEN", MY_TOKEN="got prompt", COMFYPORT_API_KEY=KEY)
    address.post("/runsync", job(), headers=RIGHT)

    shown = address.get("/logs", headers=RIGHT).text

    assert "comfyui: ********" in shown
    assert "got prompt" not in shown


def test_what_a_node_may_be_set_to_is_told_as_comfyui_lists_it(shared_door: Address):
    shared_door.post("/runsync", job())

    answer = shared_door.get("/choices?node=KSampler&node=CheckpointLoaderSimple&node=NoSuchNode").json()

    assert set(answer) == {"KSampler", "CheckpointLoaderSimple"}
    assert "euler" in answer["KSampler"]["sampler_name"]
    assert answer["CheckpointLoaderSimple"] == {"ckpt_name": ["a.safetensors"]}
    assert "seed" not in answer["KSampler"]


def test_choices_are_given_while_comfyui_starts_too(door: Door):
    address = door(COMFYUI_ARGS="--start-delay 30")

    assert address.get("/choices?node=KSampler").json() == {}


def log_of(*texts: str, secrets: tuple[str, ...] = ()) -> list[str]:
    """What is kept of a log to which these texts are written."""
    recent = logs.Recent(secrets)
    for text in texts:
        recent.handle(logging.LogRecord("comfyui", logging.INFO, "", 0, "%s", (text,), None))
    return [line.text for line in recent.after(0)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token hf_abcdefghij used", "token ******** used"),
        ("hf_abcdefghij_and_more", "********_and_more"),
        ("line\nwith a\nkey", "********"),
        ("https://me:password@example.com/a", "https://********@example.com/a"),
        ("GET https://a.example/b.png?X-Amz-Signature=12ab&x=1 200", "GET https://a.example/b.png?******** 200"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ********"),
        ("what is left? nothing", "what is left? nothing"),
        ("a short one stays: abc", "a short one stays: abc"),
    ],
)
def test_what_is_secret_is_blotted_out(text: str, shown: str):
    assert log_of(text, secrets=("abc", "hf_abcdefghij", "hf_abcdef", "line\nwith a\nkey")) == [shown]


def test_a_long_log_keeps_its_end_and_long_lines_their_beginning():
    lines = log_of(*(str(number) for number in range(logs.KEPT_LINES + 10)), "x" * 10_000)

    assert len(lines) == logs.KEPT_LINES
    assert lines[0] == "11"
    assert len(lines[-1]) == logs.LINE_CHARACTERS
