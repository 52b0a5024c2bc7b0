"""A job's files: how they come, what is refused, where they lie while the job runs, and that nothing of them stays."""

import asyncio
import base64
import gzip
import io
import logging
import ssl
import threading
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from aiohttp import web
from PIL import Image

from comfyport.comfyui.storage import LocalStorage
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import InputFailed
from comfyport.jobs.inputs import Inputs
from comfyport.jobs.request import parse
from comfyport.jobs.staging import Limits
from comfyport.serve.host import Host
from comfyport.settings import Settings
from emulators.comfyui import ComfyUIEmulator
from emulators.server import LoopbackServer
from tests import workflows
from tests.conftest import container_environ, picture, png, run, running_host

LIMITS = Limits(files=8, file_bytes=100_000, total_bytes=150_000, pixels=1_000_000, fetch_seconds=30, private_urls=True)
PNG = base64.b64decode(png((5, 4), (255, 0, 10)))


class Shop(LoopbackServer):
    """A host of files that speaks https; `asked` has what it was asked for."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.asked: list[str] = []
        self.streaming = threading.Event()
        app = web.Application()
        for path, handler in {
            "/in.png": self.picture,
            "/page": self.page,
            "/away/{left}": self.away,
            "/to": self.to,
            "/endless": self.endless,
            "/silent": self.silent,
            "/cut": self.cut,
            "/packed": self.packed,
        }.items():
            app.router.add_get(path, handler)
        super().__init__(app, tls=tls, handler_cancellation=True)

    async def picture(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        return web.Response(body=PNG, content_type="image/png")

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html")

    async def away(self, request: web.Request) -> web.Response:
        left = int(request.match_info["left"])
        raise web.HTTPFound(f"/away/{left - 1}" if left > 1 else "/in.png")

    async def to(self, request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": request.query["url"]})

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        self.streaming.set()
        while request.transport and not request.transport.is_closing():
            await response.write(b"x" * 65536)
            await asyncio.sleep(0)
        return response

    async def silent(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async def cut(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        request.transport.abort()  # type: ignore[union-attr]
        return response

    async def packed(self, request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def shop(authority: trustme.CA) -> Iterator[Shop]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(tls)
    with Shop(tls) as running:
        yield running


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting


@pytest.fixture
def inputs(tmp_path: Path, tls: ssl.SSLContext) -> Inputs:
    return made(tmp_path, tls)


def made(tmp_path: Path, tls: ssl.SSLContext | bool = True, **limits: Any) -> Inputs:
    return Inputs(LocalStorage(tmp_path), tmp_path / "staging", replace(LIMITS, **limits), tls=tls)


def job(workflow: Workflow | None = None, **given: Any) -> dict[str, Any]:
    return {"input": {"workflow": workflow or workflows.inverted("in.png"), **given}}


def image(content: str, name: str = "in.png") -> dict[str, Any]:
    return {"images": [{"name": name, "image": content}]}


def data(content: bytes, name: str = "in.bin") -> dict[str, Any]:
    return {"files": [{"name": name, "data": base64.b64encode(content).decode()}]}


@asynccontextmanager
async def placed(inputs: Inputs, given: dict[str, Any]) -> AsyncIterator[Workflow]:
    request = parse(given)
    async with inputs.fetched(request.files) as fetched, inputs.placed(fetched, request.workflow) as workflow:
        yield workflow


def held(tmp_path: Path) -> dict[str, bytes]:
    """The files below ComfyUI's input folder, by the names that a workflow has for them."""
    folder = tmp_path / "input"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(tmp_path: Path) -> list[Path]:
    return [path for name in ("input", "staging") for path in (tmp_path / name).glob("*")]


async def problems(inputs: Inputs, given: dict[str, Any]) -> list[str]:
    with pytest.raises(InputFailed) as failed:
        async with placed(inputs, given):
            pytest.fail("the files were taken")
    listed: list[str] = failed.value.details["problems"]
    return listed


@pytest.mark.parametrize(
    "head", ["", "data:image/png;base64,", "DATA:image/png;charset=x;BASE64,", "image/png;base64,"]
)
async def test_a_picture_in_the_job_lies_where_the_workflow_says_while_it_runs(
    inputs: Inputs, tmp_path: Path, head: str
):
    async with placed(inputs, job(**image(head + base64.encodebytes(PNG).decode()))) as workflow:
        assert held(tmp_path) == {workflow["1"]["inputs"]["image"]: PNG}

    assert left_over(tmp_path) == []


async def test_a_picture_is_fetched_from_its_address(inputs: Inputs, tmp_path: Path, shop: Shop):
    async with placed(inputs, job(**image(f"{shop.url}/in.png?sig=a%2Fb"))) as workflow:
        assert held(tmp_path) == {workflow["1"]["inputs"]["image"]: PNG}

    assert shop.asked == ["/in.png?sig=a%2Fb"]
    assert left_over(tmp_path) == []


async def test_a_file_has_data_or_an_address(inputs: Inputs, tmp_path: Path, shop: Shop):
    workflow = {"1": workflows.node("Two", a="a.png", b="b.bin")}
    files = [{"name": "a.png", "url": f"{shop.url}/in.png", "data": None}, *data(b"\0any", "b.bin")["files"]]

    async with placed(inputs, job(workflow, files=files)) as changed:
        named = changed["1"]["inputs"]

        assert held(tmp_path) == {named["a"]: PNG, named["b"]: b"\0any"}


async def test_redirects_are_followed_but_not_for_ever(inputs: Inputs, shop: Shop):
    async with placed(inputs, job(**image(f"{shop.url}/away/5"))):
        assert shop.asked == ["/in.png"]

    (problem,) = await problems(inputs, job(**image(f"{shop.url}/away/6")))
    assert problem == "Error fetching in.png: 127.0.0.1 redirects more than 5 times"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254 is the metadata service of a cloud"),
        ("https://[::ffff:169.254.169.254]/", "is an IPv4 address inside of an IPv6 one"),
        ("https://2852039166/", "odd spelling"),
        ("file:///etc/passwd", "must start with https://"),
        ("https://user:secret@localhost/", "a user name or a password"),
        ("https://[", "redirects to what is not an address"),
        ("", "redirects"),
    ],
)
async def test_a_redirect_leads_nowhere_that_an_address_may_not(inputs: Inputs, shop: Shop, target: str, reason: str):
    (problem,) = await problems(inputs, job(**image(f"{shop.url}/to?url={target}")))

    assert problem.startswith("Error fetching in.png: 127.0.0.1 redirects")
    assert reason in problem
    assert "secret" not in problem


@pytest.mark.parametrize("path", ["/in.png", "/away/2"])
async def test_without_permission_a_loopback_address_is_not_asked(
    tmp_path: Path, tls: ssl.SSLContext, shop: Shop, path: str
):
    inputs = made(tmp_path, tls, private_urls=False)

    by_address = await problems(inputs, job(**image(f"{shop.url}{path}")))
    by_name = await problems(inputs, job(**image(f"https://localhost:{shop.port}{path}")))

    assert by_address == ["Error fetching in.png: 127.0.0.1 is a loopback address"]
    assert "localhost cannot be reached: it leads to" in by_name[0]
    assert shop.asked == []


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, shop: Shop):
    (problem,) = await problems(made(tmp_path), job(**image(f"{shop.url}/in.png")))

    assert "127.0.0.1 cannot be reached: its certificate is not trusted" in problem


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/page", "127.0.0.1 answered with a web page (text/html), not a picture: is this the address of a page"),
        ("/missing", "127.0.0.1 answered 404 Not Found"),
        ("/cut", "the connection to 127.0.0.1 broke"),
        ("/endless", "it has more than the 0.1 MB that INPUT_FILE_MB allows"),
        ("/packed", "it has more than the 0.1 MB that INPUT_FILE_MB allows"),
        ("/silent", "it took longer than the 0.2 s of INPUT_SECONDS"),
    ],
)
async def test_what_an_address_gives_instead_of_a_picture_is_told(
    tmp_path: Path, tls: ssl.SSLContext, shop: Shop, path: str, problem: str
):
    inputs = made(tmp_path, tls, fetch_seconds=0.2 if path == "/silent" else 30)

    told = await problems(inputs, job(**image(f"{shop.url}{path}?token=secret")))

    assert len(told) == 1
    assert told[0].startswith(f"Error fetching in.png: {problem}")
    assert "secret" not in told[0]
    assert left_over(tmp_path) == []


async def test_a_page_may_be_fetched_as_a_file(inputs: Inputs, tmp_path: Path, shop: Shop):
    async with placed(inputs, job(files=[{"name": "page.html", "url": f"{shop.url}/page"}])):
        assert [content[:9] for content in held(tmp_path).values()] == [b"<!doctype"]


async def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_files(inputs: Inputs, tmp_path: Path):
    images = [
        {"name": name, "image": content}
        for name, content in {
            "a.png": "aGk",
            "good.png": png((2, 2), (0, 0, 0)),
            "b.png": "data:,aGk=",
            "c.png": "?",
        }.items()
    ]
    unfetched = [{"name": "d.mp4", "url": "ftp://example.com/d.mp4"}]

    assert await problems(inputs, job(images=images, files=unfetched)) == [
        "Error decoding base64 for a.png: Incorrect padding",
        "Error decoding base64 for b.png: its data URI does not say ';base64,'",
        "Error decoding base64 for c.png: Only base64 data is allowed",
        "Error fetching d.mp4: the address must start with https:// or http://",
    ]
    assert left_over(tmp_path) == []


async def test_what_a_job_may_bring_is_limited_by_number_and_bytes(inputs: Inputs, tmp_path: Path):
    many = [{"name": f"{number}.bin", "data": "aGk="} for number in range(9)]
    heavy = [data(bytes(80_000), name)["files"][0] for name in ("a.bin", "b.bin")]

    assert await problems(inputs, job(files=many)) == ["The job has 9 files, more than the 8 of INPUT_FILES"]
    assert (
        "it has more than the 0.1 MB that INPUT_FILE_MB allows"
        in (await problems(inputs, job(**data(bytes(100_001)))))[0]
    )
    assert (
        "the job's files have more than the 0.15 MB that INPUT_MB allows"
        in (await problems(inputs, job(files=heavy)))[0]
    )
    assert left_over(tmp_path) == []


async def test_a_picture_that_would_become_too_large_is_refused_wherever_it_stands(inputs: Inputs):
    bomb = io.BytesIO()
    Image.new("1", (2000, 1000)).save(bomb, "PNG")

    as_image = await problems(inputs, job(**image(base64.b64encode(bomb.getvalue()).decode())))
    as_file = await problems(inputs, job(**data(bomb.getvalue(), "in.png")))

    assert as_image == ["Error reading in.png: it has more than the 1 megapixels that INPUT_MEGAPIXELS allows"]
    assert as_file == as_image


async def test_what_is_no_picture_is_refused_under_images_only(inputs: Inputs, tmp_path: Path):
    text = base64.b64encode(b'{"prompt": 1}').decode()

    assert "it is JSON, not a picture" in (await problems(inputs, job(**image(text))))[0]
    async with placed(inputs, job(**data(PNG[:-20], "cut.png"))):
        assert list(held(tmp_path).values()) == [PNG[:-20]]


async def test_a_picture_that_was_cut_short_is_refused(inputs: Inputs):
    cut = base64.b64encode(PNG[:-20]).decode()

    assert await problems(inputs, job(**image(cut))) == ["Error reading in.png: it was cut short"]


async def test_a_file_stays_until_the_last_job_that_brought_it_is_over(inputs: Inputs, tmp_path: Path):
    given = job(**image(base64.b64encode(PNG).decode()))

    async with placed(inputs, given) as first:
        async with placed(inputs, given) as second:
            assert first == second
        assert held(tmp_path) == {first["1"]["inputs"]["image"]: PNG}

    assert left_over(tmp_path) == []


async def test_jobs_at_once_put_the_same_content_there_once(tmp_path: Path):
    class Slow(LocalStorage):
        """Takes its time, as a ComfyUI elsewhere does."""

        async def put(self, name: str, content: Path) -> None:
            put_there.append(name)
            await asyncio.sleep(0)
            await super().put(name, content)

    put_there: list[str] = []
    inputs = Inputs(Slow(tmp_path), tmp_path / "staging", LIMITS)
    request = parse(job(**image(base64.b64encode(PNG).decode())))
    together = asyncio.Barrier(5)

    async def one() -> None:
        async with inputs.fetched(request.files) as fetched:
            await together.wait()
            async with inputs.placed(fetched, request.workflow):
                assert list(held(tmp_path).values()) == [PNG]
                await together.wait()

    await asyncio.gather(*(one() for _ in range(5)))

    assert len(put_there) == 1
    assert left_over(tmp_path) == []


async def test_the_same_name_with_other_content_is_another_file(inputs: Inputs, tmp_path: Path):
    other = png((1, 1), (0, 0, 0))

    async with (
        placed(inputs, job(**image(base64.b64encode(PNG).decode()))) as first,
        placed(inputs, job(**image(other))) as second,
    ):
        contents = held(tmp_path)

        assert contents[first["1"]["inputs"]["image"]] == PNG
        assert contents[second["1"]["inputs"]["image"]] == base64.b64decode(other)


async def test_nothing_stays_of_a_job_that_fails_or_is_cancelled(inputs: Inputs, tmp_path: Path, shop: Shop):
    given = job(**image(base64.b64encode(PNG).decode()))
    with pytest.raises(RuntimeError):
        async with placed(inputs, given):
            raise RuntimeError

    fetching = asyncio.create_task(problems(inputs, job(**image(f"{shop.url}/endless"))))
    assert await asyncio.to_thread(shop.streaming.wait, 10)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching

    assert left_over(tmp_path) == []


async def test_a_start_removes_what_a_killed_worker_left_and_nothing_else(inputs: Inputs, tmp_path: Path):
    abandoned = placed(inputs, job(**image(base64.b64encode(PNG).decode(), "sub/in.png")))
    await abandoned.__aenter__()
    mine = tmp_path / "input" / "mine.png"
    mine.write_bytes(PNG)

    await made(tmp_path).clear()

    assert list((tmp_path / "input").rglob("*")) == [mine]
    assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize(
    ("name", "mention", "stored"),
    [
        ("in.png", "in.png [input]", "*-in.png [input]"),
        ("sub/in.png", "sub/in.png", "sub/*-in.png"),
        ("sub\\in.png", "sub/in.png", "sub/*-in.png"),
        ("sub/in.png", "sub\\in.png", "sub/*-in.png"),
        ("Ma\u0308dchen.png", "M\u00e4dchen.png", "*-M\u00e4dchen.png"),
        ("Bild 1 [input].png", "Bild 1 [input].png", "*-Bild 1 _input_.png"),
        ("IN.PNG", "IN.PNG", "*-IN.PNG"),
        ("x" * 500 + ".jpeg", "x" * 500 + ".jpeg", "*-" + "x" * 175 + ".jpeg"),
        ("\u00e9" * 400 + ".png", "\u00e9" * 400 + ".png", "*-" + "\u00e9" * 88 + ".png"),
    ],
)
async def test_a_name_is_found_in_the_workflow_however_it_is_spelt(
    inputs: Inputs, tmp_path: Path, name: str, mention: str, stored: str
):
    content = base64.b64encode(PNG).decode()

    async with placed(inputs, job(workflows.inverted(mention), **image(content, name))) as workflow:
        (on_disk,) = held(tmp_path)
        named = workflow["1"]["inputs"]["image"]

    folder, _, last = named.rpartition("/")
    assert f"{folder}{'/' if folder else ''}*{last[32:]}" == stored
    assert named.removesuffix(" [input]") == on_disk


async def test_a_name_is_found_within_lists_and_objects_but_not_in_links_and_texts(inputs: Inputs):
    workflow = {
        "in.png": workflows.node("LoadImage", image=["in.png", "other.png", {"mask": "in.png"}]),
        "2": workflows.node("Use", image=["in.png", 0], text="like in.png", output="in.png [output]"),
    }

    async with placed(inputs, job(workflow, **image(base64.b64encode(PNG).decode()))) as changed:
        new = changed["in.png"]["inputs"]["image"][0]

        assert new.endswith("-in.png")
        assert changed["in.png"]["inputs"]["image"] == [new, "other.png", {"mask": new}]
        assert changed["2"] == workflow["2"]


async def test_a_file_that_no_node_names_is_told_in_the_log(inputs: Inputs, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        async with placed(inputs, job(workflows.scaled(), **image(base64.b64encode(PNG).decode()))):
            pass

    assert "no node of the workflow names the input file 'in.png'" in caplog.text


async def test_a_folder_that_is_a_file_is_a_clear_error(inputs: Inputs, tmp_path: Path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "taken").write_text("")

    (problem,) = await problems(inputs, job(**image(base64.b64encode(PNG).decode(), "taken/in.png")))

    assert problem.startswith("Error uploading taken/")


def test_a_picture_in_a_folder_reaches_comfyui_and_nothing_of_it_stays(host: Host):
    answer = run(host, job(workflows.inverted("sub/in.png"), **image(png((5, 4), (255, 0, 10)), "sub/in.png"))["input"])

    assert picture(answer["images"][0]).getpixel((0, 0)) == (0, 255, 245)
    assert not (host.worker.settings.run_folder / "comfyui" / "input" / "sub").exists()


def test_jobs_at_once_with_the_same_picture_all_get_it(host: Host):
    async def together() -> list[dict[str, Any]]:
        one = job(workflows.inverted("in.png"), **image(png((3, 3), (1, 2, 3))))
        return await asyncio.gather(*(host.run(one) for _ in range(5)))

    answers = asyncio.run(together())

    assert {picture(answer["images"][0]).getpixel((0, 0)) for answer in answers} == {(254, 253, 252)}


def needs(host: Host, *nodes: str) -> None:
    """Skips where ComfyUI does not have these nodes; the emulator has no audio and no video."""
    for name in nodes:
        if not requests.get(f"{host.worker.url}/object_info/{name}", timeout=30).json():
            pytest.skip(f"there is no node {name}")


def test_a_sound_is_loaded(host: Host):
    needs(host, "LoadAudio", "SaveAudio")
    sound = io.BytesIO()
    with wave.open(sound, "wb") as writing:
        writing.setparams((1, 2, 8000, 0, "NONE", ""))
        writing.writeframes(bytes(16000))
    workflow = {
        "1": workflows.node("LoadAudio", audio="a.wav"),
        "2": workflows.node("SaveAudio", audio=["1", 0], filename_prefix="sound"),
    }

    answer = run(host, job(workflow, **data(sound.getvalue(), "a.wav"))["input"])

    assert "error" not in answer


def test_a_video_is_loaded(host: Host):
    needs(host, "CreateVideo", "SaveVideo", "LoadVideo", "GetVideoComponents")
    made = {
        "1": workflows.node("EmptyImage", width=64, height=32, batch_size=4, color=0xFFFFFF),
        "2": workflows.node("CreateVideo", images=["1", 0], fps=8.0),
        "3": workflows.node("SaveVideo", video=["2", 0], filename_prefix="made", format="mp4", codec="h264"),
    }
    taken_apart = {
        "1": workflows.node("LoadVideo", file="clips/in.mp4"),
        "2": workflows.node("GetVideoComponents", video=["1", 0]),
        "3": workflows.node("SaveImage", images=["2", 0], filename_prefix="frame"),
    }

    (video,) = delivered(run(host, {"workflow": made}))
    files = [{"name": "clips/in.mp4", "data": video["data"]}]
    answer = run(host, {"workflow": taken_apart, "files": files})

    assert [picture(item).size for item in answer["images"]] == [(64, 32)] * 4


def delivered(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """All files of an answer, whatever their kind."""
    return [item for items in answer.values() if isinstance(items, list) for item in items if "data" in item]


def test_files_are_looked_at_while_comfyui_still_starts(tmp_path: Path):
    environ = container_environ(tmp_path, COMFYUI_ARGS="--start-delay 600", JOB_TIMEOUT="60")
    host = Host(Settings.load(environ), environ)
    host.start()
    try:
        answer = run(host, job(**image("?"))["input"])
    finally:
        host.stop()

    assert answer["error_code"] == "input_failed"


def test_a_comfyui_elsewhere_gets_the_files_too(tmp_path: Path):
    with ComfyUIEmulator(tmp_path / "elsewhere") as comfyui, running_host(tmp_path, COMFYUI_URL=comfyui.url) as host:
        given = job(workflows.inverted("sub/in.png [input]"), **image(png((5, 4), (255, 0, 10)), "sub/in.png"))
        answer = run(host, given["input"])

    assert picture(answer["images"][0]).getpixel((0, 0)) == (0, 255, 245)
