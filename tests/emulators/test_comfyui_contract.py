"""What ComfyUI does, asked of the emulator and, if COMFYUI_DIR names one, of a real ComfyUI (v0.3.64).

COMFYUI_PYTHON is the Python that runs the real one; otherwise its `.venv` or this Python does.
"""

import asyncio
import hashlib
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from PIL import Image

EMULATOR = Path(__file__).parents[2] / "emulators" / "comfyui"
COLORS = itertools.count(random.randrange(0x100000))


def programs() -> list[Any]:
    real = os.environ.get("COMFYUI_DIR")
    chosen = [pytest.param((sys.executable, EMULATOR), id="emulator")]
    if real and (Path(real) / "main.py").is_file() and Path(real).resolve() != EMULATOR:
        own = Path(real) / ".venv" / "bin" / "python"
        python = os.environ.get("COMFYUI_PYTHON") or (own if own.is_file() else sys.executable)
        chosen.append(pytest.param((str(python), Path(real)), id="real"))
    return chosen


class Server:
    """A running program and its folders."""

    def __init__(self, python: str, program: Path, base: Path) -> None:
        self.base, self.log = base, base / "log.txt"
        self.command = [python, str(program / "main.py"), "--cpu", "--disable-auto-launch", "--disable-api-nodes"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [*self.command, "--port", str(self.port), "--base-directory", str(self.base), *arguments]
        with self.log.open("wb") as log:
            return subprocess.Popen(command, cwd=self.base, stdout=log, stderr=log)

    def wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            try:
                requests.get(f"{self.url}/queue", timeout=5)
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(self.log.read_text())


@pytest.fixture(scope="session", params=programs())
def comfyui(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(*request.param, tmp_path_factory.mktemp("comfyui"))
    (server.base / "custom_nodes").mkdir()
    extra = server.base / "elsewhere"
    for place in ("models/loras/styles", "models/upscale_models", "elsewhere/checkpoints", "elsewhere/more"):
        (server.base / place).mkdir(parents=True)
    (server.base / "models/loras/styles/ink.safetensors").touch()
    (server.base / "models/loras/readme.txt").touch()
    (server.base / "models/upscale_models/broken.safetensors").write_bytes(b"<html>Not found</html>")
    (extra / "checkpoints/one.ckpt").touch()
    (extra / "more/two.safetensors").touch()
    (extra / "more/face.onnx").touch()
    config = server.base / "extra.yaml"
    config.write_text(
        "mine:\n  base_path: elsewhere\n  checkpoints: |\n    checkpoints\n    more\n  insightface: more\n"
    )
    process = server.start("--extra-model-paths-config", str(config))
    try:
        server.wait_until_it_answers(process)
        yield server
    finally:
        process.terminate()
        process.wait(20)


class Client:
    """One websocket with its client id, and plain requests."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server, self.session, self.id = server, session, uuid.uuid4().hex

    async def get(self, path: str, **query: str) -> Any:
        async with self.session.get(self.server.url + path, params=query) as response:
            return await response.json()

    async def status(self, path: str, **query: str) -> int:
        async with self.session.get(self.server.url + path, params=query) as response:
            return response.status

    async def view(self, **query: str) -> Image.Image:
        async with self.session.get(f"{self.server.url}/view", params=query) as response:
            response.raise_for_status()
            image = Image.open(BytesIO(await response.read()))
            image.load()
            return image

    async def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.post(self.server.url + path, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text

    async def queue(self, prompt: dict[str, Any], **more: Any) -> str:
        status, answer = await self.post("/prompt", {"prompt": prompt, "client_id": self.id, **more})
        assert status == 200, answer
        return str(answer["prompt_id"])

    async def upload(self, data: bytes | None, name: str = "a.png", **fields: str) -> tuple[int, Any]:
        form = aiohttp.FormData(quote_fields=False)
        for field, value in fields.items():
            form.add_field(field, value)
        if data is not None:
            form.add_field("image", data, filename=name, content_type="image/png")
        async with self.session.post(f"{self.server.url}/upload/image", data=form) as response:
            return response.status, await response.json() if response.status == 200 else None

    @asynccontextmanager
    async def socket(self) -> AsyncIterator["Socket"]:
        async with self.session.ws_connect(f"{self.server.url}/ws", params={"clientId": self.id}) as socket:
            yield Socket(socket)

    async def run(self, prompt: dict[str, Any], **more: Any) -> "Ran":
        async with self.socket() as socket:
            prompt_id = await self.queue(prompt, **more)
            messages = await socket.until_done(prompt_id)
        return Ran(prompt_id, messages, (await self.get(f"/history/{prompt_id}"))[prompt_id])

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[tuple[str, "Socket"]]:
        """While a prompt runs that takes some seconds."""
        async with self.socket() as socket:
            prompt_id = await self.queue(chain_of_scalings(40))
            await socket.until("executing")
            try:
                yield prompt_id, socket
            finally:
                await self.post("/interrupt")
                while (await self.get("/queue"))["queue_running"]:
                    await asyncio.sleep(0.02)


class Socket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def next(self) -> dict[str, Any]:
        return dict(await self.socket.receive_json(timeout=20))

    async def until(self, event: str) -> dict[str, Any]:
        while (message := await self.next())["type"] != event:
            pass
        return message

    async def until_done(self, prompt_id: str) -> list[dict[str, Any]]:
        messages = [await self.next()]
        while messages[-1] != {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}:
            messages.append(await self.next())
        return messages


class Ran:
    """A prompt that ended: its id, the messages about it, its entry in the history."""

    def __init__(self, prompt_id: str, messages: list[dict[str, Any]], history: dict[str, Any]) -> None:
        self.id, self.messages, self.history = prompt_id, messages, history

    def data(self, event: str) -> list[dict[str, Any]]:
        return [message["data"] for message in self.messages if message["type"] == event]

    def files(self, node_id: str) -> list[dict[str, str]]:
        return list(self.history["outputs"][node_id]["images"])


@pytest.fixture
async def client(comfyui: Server) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(comfyui, session)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def empty(width: int = 8, height: int = 4, color: int | None = None, batch_size: int = 1) -> dict[str, Any]:
    color = next(COLORS) if color is None else color
    return node("EmptyImage", width=width, height=height, batch_size=batch_size, color=color)


def save(source: str, prefix: str) -> dict[str, Any]:
    return node("SaveImage", images=[source, 0], filename_prefix=prefix)


def scale(source: str, width: int, height: int, method: str = "lanczos", crop: str = "disabled") -> dict[str, Any]:
    return node("ImageScale", image=[source, 0], upscale_method=method, width=width, height=height, crop=crop)


def chain_of_scalings(length: int) -> dict[str, Any]:
    prompt = {"0": empty(), "out": node("PreviewImage", images=[str(length), 0])}
    for number in range(1, length + 1):
        prompt[str(number)] = scale(str(number - 1), 1500 + number, 1500)
    return prompt


def name() -> str:
    return uuid.uuid4().hex


def pattern() -> bytes:
    """A picture of 24 x 16 pixels with edges and slopes."""
    image = Image.new("RGB", (24, 16))
    for x, y in itertools.product(range(24), range(16)):
        image.putpixel((x, y), (x * 10, y * 15, 255 if (x // 5 + y // 3) % 2 else x * y % 256))
    return png(image)


def png(image: Image.Image) -> bytes:
    body = BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


def one_color(color: str) -> bytes:
    return png(Image.new("RGB", (6, 4), color))


def digest(image: Image.Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()[:16]


def without_prose(value: Any) -> Any:
    """Leaves out what is for people (tooltips, descriptions) and what lies in the program's own source."""
    prose = ("tooltip", "output_tooltips", "description", "traceback")
    if isinstance(value, dict):
        return {key: without_prose(entry) for key, entry in value.items() if key not in prose}
    return [without_prose(entry) for entry in value] if isinstance(value, list) else value


async def test_inverting_rounds_as_32_bit_floats_do(client: Client) -> None:
    gray = Image.new("L", (256, 1))
    gray.putdata(range(256))
    _, uploaded = await client.upload(png(gray), f"{name()}.png")

    ran = await client.run(
        {
            "1": node("LoadImage", image=uploaded["name"]),
            "2": node("ImageInvert", image=["1", 0]),
            "3": save("2", name()),
        }
    )

    image = await client.view(**ran.files("3")[0])
    assert (image.mode, image.size, image.getpixel((64, 0))) == ("RGB", (256, 1), (191, 191, 191))
    assert digest(image) == "c46d68fc01333dba"


@pytest.mark.parametrize(("color", "pixel"), [(0x0A64C8, (10, 100, 200)), (0, (0, 0, 0)), (0x7F3389, (127, 51, 137))])
async def test_an_empty_image_has_one_color(client: Client, color: int, pixel: tuple[int, ...]) -> None:
    ran = await client.run({"1": empty(5, 3, color, batch_size=2), "2": save("1", name())})

    images = [await client.view(**file) for file in ran.files("2")]
    assert [image.size for image in images] == [(5, 3), (5, 3)]
    assert [image.getpixel((4, 2)) for image in images] == [pixel, pixel]


@pytest.mark.parametrize(("method", "width", "height", "crop", "size", "expected"), [
    ("nearest-exact", 37, 11, "disabled", (37, 11), "47ed65921e8197ba"),
    ("nearest-exact", 9, 30, "center", (9, 30), "bd92dac3cbedc2f3"),
    ("bicubic", 48, 32, "disabled", (48, 32), "1185a23df9b13aa3"),
    ("lanczos", 31, 40, "disabled", (31, 40), "1f25475f603df0ee"),
    ("lanczos", 0, 40, "disabled", (60, 40), "b2c1b6b15315aef3"),
])  # fmt: skip
async def test_scaling_gives_the_same_pixels(
    client: Client, method: str, width: int, height: int, crop: str, size: tuple[int, int], expected: str
) -> None:
    _, uploaded = await client.upload(pattern(), f"{name()}.png")

    ran = await client.run(
        {
            "1": node("LoadImage", image=uploaded["name"]),
            "2": scale("1", width, height, method, crop),
            "3": save("2", name()),
        }
    )

    image = await client.view(**ran.files("3")[0])
    assert (image.size, digest(image)) == (size, expected)


@pytest.mark.parametrize(("method", "width", "expected"), [
    ("bilinear", 12, [0, 100, 181, 108, 90, 117, 227, 132, 10, 10, 70, 130]),
    ("bilinear", 3, [166, 172, 30]),
    ("bicubic", 12, [0, 110, 201, 109, 64, 117, 252, 147, 0, 0, 70, 140]),
    ("bicubic", 3, [180, 195, 27]),
    ("area", 12, [0, 100, 200, 90, 90, 90, 255, 132, 10, 10, 70, 130]),
    ("area", 3, [96, 111, 50]),
])  # fmt: skip
async def test_scaling_blends_neighbours_to_within_one_level(
    client: Client, method: str, width: int, expected: list[int]
) -> None:
    row = Image.new("L", (8, 1))
    row.putdata([0, 200, 90, 90, 255, 10, 10, 130])
    _, uploaded = await client.upload(png(row), f"{name()}.png")

    ran = await client.run(
        {"1": node("LoadImage", image=uploaded["name"]), "2": scale("1", width, 2, method), "3": save("2", name())}
    )

    image = await client.view(**ran.files("3")[0])
    assert list(image.getchannel("G").crop((0, 1, width, 2)).tobytes()) == pytest.approx(expected, abs=1)


async def test_a_picture_is_scaled_to_so_many_pixels_in_its_shape(client: Client) -> None:
    ran = await client.run(
        {
            "1": node("EmptyImage", width=40, height=30, batch_size=1, color=next(COLORS)),
            "2": node("ImageScaleToTotalPixels", image=["1", 0], upscale_method="lanczos", megapixels=0.1),
            "3": save("2", name()),
        }
    )

    assert (await client.view(**ran.files("3")[0])).size == (374, 280)


async def test_batches_become_one_and_are_saved_as_numbered_files(client: Client) -> None:
    prefix = name()
    prompt = {
        "1": empty(8, 4, 0xFF0000),
        "2": empty(16, 4, 0x0000FF),
        "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        "4": save("3", prefix),
    }

    ran = await client.run(prompt)
    again = await client.run({**prompt, "1": empty(8, 4, 0x00FF00)})

    assert [file["filename"] for file in ran.files("4")] == [f"{prefix}_00001_.png", f"{prefix}_00002_.png"]
    assert [file["filename"] for file in again.files("4")] == [f"{prefix}_00003_.png", f"{prefix}_00004_.png"]
    second = await client.view(**ran.files("4")[1])
    assert (second.size, second.getpixel((7, 3))) == ((8, 4), (0, 0, 255))


async def test_a_prefix_may_hold_a_subfolder_and_the_size(client: Client) -> None:
    folder = name()

    ran = await client.run({"1": empty(8, 4), "2": save("1", f"{folder}/x_%width%x%height%_%nothing%")})

    file = {"filename": "x_8x4_%nothing%_00001_.png", "subfolder": folder, "type": "output"}
    assert ran.history["outputs"] == {"2": {"images": [file]}}
    assert (client.server.base / "output" / folder / file["filename"]).is_file()


async def test_saving_outside_the_output_folder_fails(client: Client) -> None:
    ran = await client.run({"1": empty(), "2": save("1", "../../escaped")})

    error = ran.data("execution_error")[0]
    assert error["exception_message"].startswith("**** ERROR: Saving image outside the output folder is not allowed.\n")
    assert (error["node_id"], error["exception_type"]) == ("2", "Exception")
    assert list(error["current_inputs"]) == ["images", "filename_prefix", "prompt", "extra_pnginfo"]


async def test_the_prompt_and_the_workflow_are_written_into_the_file(client: Client) -> None:
    data = one_color("red")
    _, uploaded = await client.upload(data, f"{name()}.png")
    prompt = {"1": node("LoadImage", image=uploaded["name"]), "2": save("1", name())}

    ran = await client.run(prompt, extra_data={"extra_pnginfo": {"workflow": {"a": [1, "é"]}}})

    image = await client.view(**ran.files("2")[0])
    written = {**prompt, "1": {**prompt["1"], "is_changed": [hashlib.sha256(data).hexdigest()]}}
    assert image.info == {"prompt": json.dumps(written), "workflow": json.dumps({"a": [1, "é"]})}


async def test_text_is_shown_without_a_file(client: Client) -> None:
    text = name()

    ran = await client.run({"1": node("PreviewAny", source=text)})

    assert ran.history["outputs"] == {"1": {"text": [text]}}


async def test_a_batch_becomes_an_animation(client: Client) -> None:
    options = {"fps": 4.0, "lossless": True, "quality": 80, "method": "default"}
    prompt = {
        "1": empty(color=0xFF0000),
        "2": empty(color=0x00FF00),
        "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        "4": node("SaveAnimatedWEBP", images=["3", 0], filename_prefix=name(), **options),
    }

    ran = await client.run(prompt)

    shown = ran.history["outputs"]["4"]
    image = await client.view(**shown["images"][0])
    assert (shown["animated"], image.format, image.n_frames) == ([True], "WEBP", 2)  # type: ignore[attr-defined]


def media(last: dict[str, Any]) -> dict[str, Any]:
    """A workflow that ends in this node: it may take frames of 1, a video of 2, sound of 3 or a latent of 4."""
    sources = {
        "1": empty(width=32, height=32),
        "2": node("CreateVideo", images=["1", 0], fps=8.0),
        "3": node("EmptyAudio", duration=0.5, sample_rate=44100, channels=1),
        "4": node("EmptyLatentImage", width=64, height=32, batch_size=1),
    }
    used = {value[0] for value in last["inputs"].values() if isinstance(value, list)} | {"1"}
    return {node_id: source for node_id, source in sources.items() if node_id in used} | {"5": last}


@pytest.mark.parametrize(
    ("node_type", "inputs", "key", "type", "file"),
    [
        ("SaveVideo", {"video": ["2", 0], "format": "auto", "codec": "auto"}, "images", "output", r"v_00001_\.mp4"),
        (
            "SaveWEBM",
            {"images": ["1", 0], "codec": "vp9", "fps": 8.0, "crf": 32.0},
            "images",
            "output",
            r"v_00001_\.webm",
        ),
        ("SaveAudio", {"audio": ["3", 0]}, "audio", "output", r"v_00001_\.flac"),
        ("PreviewAudio", {"audio": ["3", 0]}, "audio", "temp", r"ComfyUI_temp_[a-z]{5}_00001_\.flac"),
        ("SaveLatent", {"samples": ["4", 0]}, "latents", "output", r"v_00001_\.latent"),
    ],
)
async def test_media_are_reported_where_they_were_saved(
    client: Client, node_type: str, inputs: dict[str, Any], key: str, type: str, file: str
) -> None:
    if node_type not in await client.get(f"/object_info/{node_type}"):
        pytest.skip("this ComfyUI has no torchaudio, and so none of the nodes for sound")
    folder = name()
    prefix = {} if node_type == "PreviewAudio" else {"filename_prefix": f"{folder}/v"}

    ran = await client.run(media(node(node_type, **inputs, **prefix)))

    shown = ran.history["outputs"]["5"]
    [saved] = shown[key]
    assert re.fullmatch(file, saved["filename"])
    assert (saved["subfolder"], saved["type"]) == ("" if type == "temp" else folder, type)
    assert shown.keys() - {key} == ({"animated"} if node_type in ("SaveVideo", "SaveWEBM") else set())
    assert (client.server.base / type / saved["subfolder"] / saved["filename"]).stat().st_size > 0


async def test_a_3d_file_is_shown_by_its_path(client: Client) -> None:
    ran = await client.run({"1": node("Preview3D", model_file="3d/cube.glb")})

    assert ran.history["outputs"] == {"1": {"result": ["3d/cube.glb", None]}}


REFUSED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("test_comfyui_contract_refusals.json").read_text()
)
"""Prompts, and ComfyUI's whole answers to them but for tooltips and tracebacks."""


@pytest.mark.parametrize("case", REFUSED)
async def test_a_prompt_that_cannot_run_is_refused(client: Client, case: str) -> None:
    refused = REFUSED[case]

    status, answer = await client.post("/prompt", {"prompt": refused["prompt"]})

    for told in answer["node_errors"].values():
        told["errors"].sort(key=lambda found: str(found["extra_info"].get("received_value")))
    assert (status, without_prose(answer)) == (
        400,
        {"error": refused["error"], "node_errors": refused["node_errors"]},
    )


async def test_a_body_without_a_prompt_is_refused(client: Client) -> None:
    status, answer = await client.post("/prompt", {"workflow": {}})

    message = "No prompt provided"
    error = {"type": "no_prompt", "message": message, "details": message, "extra_info": {}}
    assert (status, answer) == (400, {"error": error, "node_errors": {}})


async def test_outputs_that_can_run_do_so_although_others_cannot(client: Client) -> None:
    prompt = {"1": empty(), "2": save("1", name()), "3": empty(width=0), "4": node("PreviewImage", images=["3", 0])}

    status, answer = await client.post("/prompt", {"prompt": prompt, "client_id": client.id})

    assert (status, list(answer["node_errors"])) == (200, ["3"])
    assert answer["node_errors"]["3"]["dependent_outputs"] == ["4"]
    entry = await wait_for_history(client, answer["prompt_id"])
    assert (entry["prompt"][4], list(entry["outputs"]), entry["status"]["status_str"]) == (["2"], ["2"], "success")


async def test_values_are_converted_to_their_types(client: Client) -> None:
    prompt = {"1": node("EmptyImage", width="8", height=4.7, batch_size=True, color="5"), "2": save("1", name())}

    ran = await client.run(prompt)

    assert ran.history["prompt"][2]["1"]["inputs"] == {"width": 8, "height": 4, "batch_size": 1, "color": 5}


async def wait_for_history(client: Client, prompt_id: str) -> dict[str, Any]:
    while not (history := await client.get(f"/history/{prompt_id}")):
        await asyncio.sleep(0.02)
    return dict(history[prompt_id])


async def test_messages_come_in_order_and_success_before_the_history(client: Client) -> None:
    prompt = {"1": save("2", name()), "2": node("ImageInvert", image=["3", 0]), "3": empty()}

    async with client.socket() as socket:
        prompt_id = await client.queue(prompt)
        messages = await socket.until_done(prompt_id)

    file = {"filename": f"{prompt['1']['inputs']['filename_prefix']}_00001_.png", "subfolder": "", "type": "output"}
    waiting = {"status": {"exec_info": {"queue_remaining": 1}}}
    done = {"status": {"exec_info": {"queue_remaining": 0}}}
    of_prompt = {"prompt_id": prompt_id}
    told = [(m["type"], without_time(m["data"])) for m in messages if m["type"] != "progress_state"]
    assert told == [
        ("status", {**done, "sid": client.id}),
        ("status", waiting),
        ("status", waiting),
        ("execution_start", of_prompt),
        ("execution_cached", {"nodes": [], **of_prompt}),
        ("executing", {"node": "3", "display_node": "3", **of_prompt}),
        ("executing", {"node": "2", "display_node": "2", **of_prompt}),
        ("executing", {"node": "1", "display_node": "1", **of_prompt}),
        ("executed", {"node": "1", "display_node": "1", "output": {"images": [file]}, **of_prompt}),
        ("execution_success", of_prompt),
        ("status", done),
        ("executing", {"node": None, **of_prompt}),
    ]


def without_time(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "timestamp"}


async def test_progress_state_tells_of_every_node_so_far(client: Client) -> None:
    ran = await client.run({"1": node("PreviewImage", images=["2", 0]), "2": empty()})

    states = [{i: s["state"] for i, s in data["nodes"].items()} for data in ran.data("progress_state")]
    assert states == [
        {"2": "running"},
        {"2": "finished"},
        {"2": "finished", "1": "running"},
        {"2": "finished", "1": "finished"},
    ]
    assert ran.data("progress_state")[0]["nodes"]["2"] == {
        "value": 0.0, "max": 1.0, "state": "running", "node_id": "2", "prompt_id": ran.id,
        "display_node_id": "2", "parent_node_id": None, "real_node_id": "2",
    }  # fmt: skip


async def test_the_history_holds_what_was_asked_and_what_came_of_it(client: Client) -> None:
    prompt = {"1": save("2", name()), "2": empty()}
    prompt_id = name()

    ran = await client.run(prompt, prompt_id=prompt_id, number=-5, extra_data={"extra_pnginfo": {"a": 1}})

    messages = [[kind, without_time(data)] for kind, data in ran.history["status"].pop("messages")]
    assert messages == [
        ["execution_start", {"prompt_id": prompt_id}],
        ["execution_cached", {"nodes": [], "prompt_id": prompt_id}],
        ["execution_success", {"prompt_id": prompt_id}],
    ]
    assert ran.history == {
        "prompt": [-5.0, prompt_id, prompt, {"extra_pnginfo": {"a": 1}, "client_id": client.id}, ["1"]],
        "outputs": {"1": {"images": ran.files("1")}},
        "status": {"status_str": "success", "completed": True},
        "meta": {"1": {"node_id": "1", "display_node": "1", "parent_node": None, "real_node_id": "1"}},
    }


async def test_the_history_can_be_shortened_and_forgotten(client: Client) -> None:
    first = await client.run({"1": node("PreviewImage", images=["2", 0]), "2": empty()})
    second = await client.run({"1": node("PreviewImage", images=["2", 0]), "2": empty()})

    last = await client.get("/history", max_items="1")
    await client.post("/history", {"delete": [second.id]})
    after_delete = await client.get("/history")
    await client.post("/history", {"clear": True})

    assert list(last) == [second.id]
    assert first.id in after_delete
    assert second.id not in after_delete
    assert await client.get("/history") == {}
    assert await client.get(f"/history/{first.id}") == {}


async def test_a_prompt_that_ran_before_is_taken_from_the_cache(client: Client) -> None:
    prompt = {"1": save("2", name()), "2": node("ImageInvert", image=["3", 0]), "3": empty()}
    first = await client.run(prompt)

    second = await client.run(prompt)

    assert second.data("execution_cached")[0]["nodes"] == ["1", "2", "3"]
    assert [data["node"] for data in second.data("executing")] == [None]
    assert [data["output"] for data in second.data("executed")] == [{"images": first.files("1")}]
    assert second.files("1") == first.files("1")


async def test_nodes_are_recognised_by_their_inputs_and_not_by_their_ids(client: Client) -> None:
    picture = empty()
    await client.run({"1": picture, "2": node("PreviewImage", images=["1", 0])})

    ran = await client.run({"8": picture, "9": save("8", name())})

    assert ran.data("execution_cached")[0]["nodes"] == ["8"]


async def test_only_what_the_latest_prompt_holds_stays_in_the_cache(client: Client) -> None:
    prompt = {"1": empty(), "2": node("PreviewImage", images=["1", 0])}
    await client.run(prompt)
    await client.run({"1": empty(), "2": node("PreviewImage", images=["1", 0])})

    ran = await client.run(prompt)

    assert ran.data("execution_cached")[0]["nodes"] == []


async def test_what_is_near_an_output_runs_first(client: Client) -> None:
    prompt = {
        "far": empty(),
        "nearer": node("ImageInvert", image=["far", 0]),
        "next": node("ImageInvert", image=["nearer", 0]),
        "near": empty(),
        "both": node("ImageBatch", image1=["near", 0], image2=["next", 0]),
        "out": node("PreviewImage", images=["both", 0]),
    }

    ran = await client.run(prompt)

    order = [data["node"] for data in ran.data("executing")]
    assert order == ["near", "far", "nearer", "next", "both", "out", None]


async def test_an_image_that_changed_is_loaded_again(client: Client) -> None:
    file = f"{name()}.png"
    await client.upload(one_color("red"), file)
    prompt = {"1": node("LoadImage", image=file), "2": save("1", name())}
    await client.run(prompt)
    cached = await client.run(prompt)
    await client.upload(one_color("blue"), file, overwrite="true")

    changed = await client.run(prompt)

    assert cached.data("execution_cached")[0]["nodes"] == ["1", "2"]
    assert changed.data("execution_cached")[0]["nodes"] == []
    assert (await client.view(**changed.files("2")[0])).getpixel((0, 0)) == (0, 0, 255)


async def test_freeing_the_memory_empties_the_cache(client: Client) -> None:
    prompt = {"1": node("PreviewImage", images=["2", 0]), "2": empty()}
    await client.run(prompt)

    await client.post("/free", {"free_memory": True})
    ran = await client.run(prompt)

    assert ran.data("execution_cached")[0]["nodes"] == []


async def test_a_running_prompt_is_interrupted_between_nodes(client: Client) -> None:
    async with client.busy() as (prompt_id, socket):
        await client.post("/interrupt", {"prompt_id": name()})
        await socket.until("executing")
        await client.post("/interrupt", {"prompt_id": prompt_id})
        interrupted = (await socket.until("execution_interrupted"))["data"]
        await socket.until_done(prompt_id)

    history = (await client.get(f"/history/{prompt_id}"))[prompt_id]
    assert set(interrupted) == {"prompt_id", "node_id", "node_type", "executed", "timestamp"}
    assert (interrupted["prompt_id"], interrupted["node_type"]) == (prompt_id, "ImageScale")
    assert (history["status"]["status_str"], history["status"]["completed"]) == ("error", False)
    assert history["status"]["messages"][-1] == ["execution_interrupted", interrupted]
    assert (history["outputs"], history["meta"]) == ({}, {})


async def test_the_queue_shows_what_runs_and_what_waits(client: Client) -> None:
    prompt = {"1": node("PreviewImage", images=["2", 0]), "2": empty()}

    async with client.busy() as (running, _):
        later = await client.queue(prompt, extra_data={"note": 1})
        front = await client.queue(prompt, front=True)
        queue = await client.get("/queue")
        remaining = await client.get("/prompt")
        await client.post("/queue", {"clear": True})

    assert [item[1] for item in queue["queue_running"]] == [running]
    assert [item[1] for item in queue["queue_pending"]] == [front, later]
    assert queue["queue_pending"][1][2:] == [prompt, {"note": 1, "client_id": client.id}, ["1"]]
    assert queue["queue_pending"][0][0] < 0 < queue["queue_pending"][1][0]
    assert remaining == {"exec_info": {"queue_remaining": 3}}


async def test_a_waiting_prompt_can_be_deleted_and_an_interrupt_does_not_reach_it(client: Client) -> None:
    async with client.busy():
        kept = await client.queue({"1": node("PreviewImage", images=["2", 0]), "2": empty()})
        deleted = await client.queue({"1": node("PreviewImage", images=["2", 0]), "2": empty()})
        await client.post("/interrupt", {"prompt_id": kept})
        status, _ = await client.post("/queue", {"delete": [deleted, name()]})

    assert status == 200
    assert (await wait_for_history(client, kept))["status"]["status_str"] == "success"
    assert await client.get(f"/history/{deleted}") == {}


async def test_an_interrupt_while_nothing_runs_has_no_effect(client: Client) -> None:
    async with client.session.post(f"{client.server.url}/interrupt") as response:
        status = response.status

    ran = await client.run({"1": node("PreviewImage", images=["2", 0]), "2": empty()})

    assert (status, ran.history["status"]["status_str"]) == (200, "success")


async def test_a_client_that_comes_back_hears_which_node_runs(client: Client) -> None:
    async with client.busy() as (_, first):
        await first.socket.close()
        async with client.socket() as socket:
            messages = [await socket.next(), await socket.next()]
            still_told = await socket.until("executing")

    assert messages[0]["data"]["sid"] == client.id
    assert (messages[1]["type"], list(messages[1]["data"])) == ("executing", ["node"])
    assert still_told["data"]["display_node"] == still_told["data"]["node"]


async def test_closing_an_old_connection_silences_a_newer_one_of_the_same_client(client: Client) -> None:
    async with client.socket() as old, client.socket() as new:
        await old.next()
        await new.next()
        await old.socket.close()
        prompt_id = await client.queue({"1": node("PreviewImage", images=["2", 0]), "2": empty()})
        await wait_for_history(client, prompt_id)

        with pytest.raises(TimeoutError):
            await new.socket.receive_json(timeout=0.3)


async def test_others_hear_only_the_status(client: Client) -> None:
    async with client.session.ws_connect(f"{client.server.url}/ws") as other:
        hello = await other.receive_json()
        await client.run({"1": node("PreviewImage", images=["2", 0]), "2": empty()})
        heard = [await other.receive_json(timeout=5) for _ in range(3)]

    assert re.fullmatch("[0-9a-f]{32}", hello["data"]["sid"])
    assert [message["type"] for message in heard] == ["status"] * 3


async def test_features_are_exchanged(client: Client) -> None:
    async with client.socket() as socket:
        await socket.next()
        await socket.socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        answer = await socket.next()

    features = {"supports_preview_metadata": True, "max_upload_size": 104857600}
    assert answer == {"type": "feature_flags", "data": features}
    assert await client.get("/features") == features


async def test_an_upload_keeps_what_is_there(client: Client) -> None:
    stem = name()
    red, blue, green = one_color("red"), one_color("blue"), one_color("green")
    uploads = [(red, {}), (red, {}), (blue, {}), (blue, {}), (green, {}), (blue, {"overwrite": "true"}), (red, {})]

    names = [(await client.upload(data, f"{stem}.png", **fields))[1]["name"] for data, fields in uploads]

    assert [found.removeprefix(stem) for found in names] == [
        ".png", ".png", " (1).png", " (1).png", " (2).png", ".png", " (3).png",
    ]  # fmt: skip
    assert (client.server.base / "input" / f"{stem}.png").read_bytes() == blue


async def test_an_upload_goes_where_it_is_told(client: Client) -> None:
    file = f"{name()}.txt"

    nested = await client.upload(b"text", file, subfolder="a/./b")
    temporary = await client.upload(b"text", file, type="temp")

    assert nested == (200, {"name": file, "subfolder": "a/./b", "type": "input"})
    assert temporary == (200, {"name": file, "subfolder": "", "type": "temp"})
    assert (client.server.base / "input/a/b" / file).read_bytes() == b"text"
    assert (client.server.base / "temp" / file).read_bytes() == b"text"


@pytest.mark.parametrize(("file", "fields", "status"), [
    ("../escaped.png", {}, 400),
    ("a.png", {"subfolder": "../.."}, 400),
    ("a.png", {"subfolder": "/tmp"}, 400),
    ("a.png", {"type": "elsewhere"}, 500),
    ("", {}, 500),
])  # fmt: skip
async def test_an_upload_cannot_leave_its_folder(
    client: Client, file: str, fields: dict[str, str], status: int
) -> None:
    assert await client.upload(b"data", file, **fields) == (status, None)


async def test_an_upload_without_a_file_is_refused(client: Client) -> None:
    assert await client.upload(None, type="input") == (400, None)


async def test_view_shows_previews_and_channels(client: Client) -> None:
    image = Image.new("RGBA", (6, 4), (10, 20, 30, 40))
    _, uploaded = await client.upload(png(image), f"{name()}.png")
    file = {"filename": uploaded["name"], "type": "input"}

    wishes = ("channel=rgb", "channel=a", "preview=webp;90", "preview=jpeg", "preview=png")
    shown = {wish: await client.view(**file, **dict([wish.split("=")])) for wish in wishes}

    assert [(i.format, i.mode, i.size) for i in shown.values()] == [
        ("PNG", "RGB", (6, 4)),
        ("PNG", "RGBA", (6, 4)),
        ("WEBP", "RGBA", (6, 4)),
        ("JPEG", "RGB", (6, 4)),
        ("WEBP", "RGBA", (6, 4)),
    ]
    assert shown["channel=rgb"].getpixel((0, 0)) == (10, 20, 30)
    assert shown["channel=a"].getpixel((0, 0)) == (0, 0, 0, 40)


async def test_view_sends_the_file_itself(client: Client) -> None:
    data, file = one_color("red"), f"{name()}.png"
    await client.upload(data, file, subfolder="deep")

    async with client.session.get(
        f"{client.server.url}/view", params={"filename": f"{file} [input]", "subfolder": "deep"}
    ) as response:
        body = await response.read()

    assert (response.status, response.content_type, body) == (200, "image/png", data)
    assert response.headers["Content-Disposition"] == f'filename="{file}"'


@pytest.mark.parametrize(("query", "status"), [
    ({}, 404),
    ({"filename": "nothing.png"}, 404),
    ({"filename": ""}, 400),
    ({"filename": "../extra.yaml"}, 400),
    ({"filename": "/etc/passwd"}, 400),
    ({"filename": "a.png", "type": "elsewhere"}, 400),
    ({"filename": "extra.yaml", "subfolder": ".."}, 403),
    ({"filename": "passwd", "subfolder": "/etc"}, 403),
])  # fmt: skip
async def test_view_stays_in_its_folders(client: Client, query: dict[str, str], status: int) -> None:
    assert await client.status("/view", **query) == status


async def test_models_are_listed_by_folder(client: Client) -> None:
    listed = {kind: await client.get(f"/models/{kind}") for kind in ("loras", "checkpoints", "insightface", "vae")}

    assert listed == {
        "loras": ["styles/ink.safetensors"],
        "checkpoints": ["one.ckpt", "two.safetensors"],
        "insightface": ["face.onnx", "two.safetensors"],
        "vae": [],
    }
    assert await client.status("/models/nonsense") == 404
    assert (await client.get("/models"))[-2:] == ["audio_encoders", "insightface"]


async def test_a_model_that_arrives_later_is_listed(client: Client) -> None:
    file = f"{name()}.pt"
    folder = client.server.base / "models" / "embeddings"
    before = await client.get("/embeddings")

    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).touch()

    assert file[:-3] not in before
    assert file[:-3] in await client.get("/embeddings")
    assert file in await client.get("/models/embeddings")


@pytest.mark.parametrize(("model", "exception_type", "message"), [
    ("nothing.safetensors", "FileNotFoundError",
     "Model in folder 'upscale_models' with filename 'nothing.safetensors' not found.\n"),
    ("broken.safetensors", "safetensors._safetensors_rust.SafetensorError",
     "Error while deserializing header: header too large\n"),
])  # fmt: skip
async def test_an_upscale_model_is_only_missed_when_it_is_loaded(
    client: Client, model: str, exception_type: str, message: str
) -> None:
    prompt = {
        "1": empty(),
        "2": node("UpscaleModelLoader", model_name=model),
        "3": node("ImageUpscaleWithModel", image=["1", 0], upscale_model=["2", 0]),
        "4": save("3", "x"),
    }

    ran = await client.run(prompt)

    error = ran.data("execution_error")[0]
    assert (error["exception_type"], error["exception_message"]) == (exception_type, message)
    assert set(error) == {
        "prompt_id", "node_id", "node_type", "executed", "exception_message", "exception_type", "traceback",
        "current_inputs", "current_outputs", "timestamp",
    }  # fmt: skip
    assert (error["node_id"], error["node_type"]) == ("2", "UpscaleModelLoader")
    assert (error["current_inputs"], sorted(error["current_outputs"])) == (
        {"model_name": [model]},
        ["1", "2", "3", "4"],
    )
    assert (ran.history["status"]["status_str"], ran.history["status"]["completed"]) == ("error", False)


NODES = {
    "LoadImage", "EmptyImage", "ImageScale", "ImageScaleBy", "ImageInvert", "ImageBatch", "SaveImage",
    "PreviewImage", "SaveAnimatedWEBP", "PreviewAny", "CheckpointLoaderSimple", "LoraLoader",
    "LoraLoaderModelOnly", "CLIPTextEncode", "EmptyLatentImage", "KSampler", "VAEDecode", "UpscaleModelLoader",
    "ImageUpscaleWithModel", "UNETLoader", "CLIPLoader", "VAELoader", "VAEEncode", "ModelSamplingAuraFlow", "CFGNorm",
    "TextEncodeQwenImageEdit", "TextEncodeQwenImageEditPlus", "ImageScaleToTotalPixels",
}  # fmt: skip


async def test_nodes_are_declared_alike(client: Client) -> None:
    info = await client.get("/object_info")

    declared = {name: without_prose(info[name]) for name in sorted(NODES)}
    declared["LoadImage"]["input"]["required"]["image"][0] = []
    assert hashlib.sha256(json.dumps(declared).encode()).hexdigest()[:16] == "dfafd1e542f86e8b", declared
    assert await client.get("/object_info/Nonsense") == {}
    assert list(await client.get("/object_info/KSampler")) == ["KSampler"]


async def test_every_route_exists_below_api_too(client: Client) -> None:
    routes = ("queue", "history", "prompt", "models", "embeddings", "features", "system_stats", "object_info/SaveImage")

    statuses = {route: await client.status(f"/api/{route}") for route in routes}

    assert statuses == dict.fromkeys(routes, 200)


async def test_the_system_is_described(client: Client) -> None:
    stats = await client.get("/system_stats")

    assert (stats["system"]["comfyui_version"], stats["system"]["argv"][1]) == ("0.3.64", "--cpu")
    assert {"os", "ram_total", "ram_free", "python_version", "pytorch_version"} <= set(stats["system"])
    assert (stats["devices"][0]["name"], stats["devices"][0]["type"], stats["devices"][0]["index"]) == (
        "cpu",
        "cpu",
        None,
    )


async def test_pages_of_other_sites_are_refused(client: Client) -> None:
    async with client.session.get(f"{client.server.url}/queue", headers={"Origin": "http://example.com"}) as response:
        assert response.status == 403


def test_it_does_not_start_without_a_folder_for_custom_nodes(comfyui: Server, tmp_path: Path) -> None:
    command = [*comfyui.command, "--port", "0", "--base-directory", str(tmp_path)]

    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ended.returncode == 1
    assert "No such file or directory" in ended.stderr


def test_unknown_flags_are_refused(comfyui: Server, tmp_path: Path) -> None:
    ended = subprocess.run([*comfyui.command, "--nonsense"], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ended.returncode == 2
    assert "unrecognized arguments: --nonsense" in ended.stderr
