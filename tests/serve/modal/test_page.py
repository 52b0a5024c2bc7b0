"""ComfyUI's own page on Modal: for those who may, in one container, with what they make on the Volume."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import requests

from emulators.modal import ModalEmulator
from tests import workflows
from tests.conftest import ROOT, free_port
from tests.serve.modal.deploying import PROXY, deployed, image_environ

# Deploying and starting containers, on a machine that may be busy: only a hang takes so long.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    """Modal, with ComfyUI's page deployed."""
    port = str(free_port())
    image = image_environ(tmp_path_factory.mktemp("image"), COMFYUI_PORT=port)
    with deployed(image, COMFYPORT_MODAL_UI="true", COMFYUI_PORT=port, COMFYPORT_MODAL_UI_SCALEDOWN="2") as running:
        yield running


@pytest.fixture
def url(platform: ModalEmulator) -> str:
    return platform.web_url("comfyport", "Page.*", "show")


@pytest.mark.parametrize("headers", [{}, {"Modal-Key": "wk-1", "Modal-Secret": "wrong"}], ids=["without", "wrong"])
def test_without_the_key_nobody_sees_the_page_and_no_container_starts(
    platform: ModalEmulator, url: str, headers: dict[str, str]
):
    before = len(platform.containers)

    answer = requests.get(url, headers=headers, timeout=300)

    assert answer.status_code == 401
    assert len(platform.containers) == before


def test_with_the_key_it_is_comfyuis_own_page(url: str):
    page = requests.get(url, headers=PROXY, timeout=300)

    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]
    assert "ComfyUI" in page.text


def test_a_workflow_runs_on_the_page_and_its_pictures_are_kept_on_the_volume(platform: ModalEmulator, url: str):
    async def run() -> list[str]:
        async with (
            aiohttp.ClientSession(headers=PROXY) as session,
            session.ws_connect(f"{url}/ws?clientId=me") as connected,
        ):
            body = {"prompt": workflows.scaled(1), "client_id": "me"}
            async with session.post(f"{url}/prompt", json=body) as queued:
                assert queued.status == 200
            seen = []
            async for message in connected:
                seen.append(json.loads(message.data)["type"] if message.type is aiohttp.WSMsgType.TEXT else "picture")
                if seen[-1] in ("execution_success", "execution_error"):
                    break
            return seen

    seen = asyncio.run(asyncio.wait_for(run(), 300))

    asyncio.run(asyncio.wait_for(ended(platform), 300))
    assert seen[-1] == "execution_success"
    kept = platform.volume_dir("comfyport-models") / "comfyui"
    assert len(list((kept / "output").glob("*.png"))) == 1
    assert {folder.name for folder in kept.iterdir()} == {"input", "output", "user"}


def test_many_requests_have_one_container_which_ends_when_no_page_is_open(platform: ModalEmulator, url: str):
    async def look() -> list[int]:
        async with aiohttp.ClientSession(headers=PROXY) as session:

            async def once() -> int:
                async with session.get(f"{url}/system_stats") as answer:
                    return answer.status

            return await asyncio.gather(*(once() for _ in range(8)))

    statuses = asyncio.run(asyncio.wait_for(look(), 300))
    pages = [container for container in platform.containers if container["function"] == "Page.*"]
    asyncio.run(asyncio.wait_for(ended(platform), 300))

    assert statuses == [200] * 8
    assert len([page for page in pages if page["exit_code"] is None]) == 1


@pytest.fixture
def near(url: str) -> Iterator[str]:
    """The address of a door on this machine to the page."""
    port = free_port()
    token = {"COMFYPORT_PROXY_KEY": PROXY["Modal-Key"], "COMFYPORT_PROXY_SECRET": PROXY["Modal-Secret"]}
    script = ROOT / "scripts" / "modal_page.py"
    program = subprocess.Popen([sys.executable, script, url, f"--port={port}"], env=os.environ | token)
    while not listens(port):
        assert program.poll() is None
    yield f"http://127.0.0.1:{port}"
    program.terminate()
    program.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_browser_on_this_machine_sees_the_page_through_a_door_that_has_the_key(near: str):
    async def greeting() -> str:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{near}/ws", origin=near) as connected:
            return str(json.loads((await connected.receive()).data)["type"])

    page = requests.get(near, timeout=300)

    assert (page.status_code, "ComfyUI" in page.text) == (200, True)
    assert asyncio.run(asyncio.wait_for(greeting(), 300)) == "status"


@pytest.mark.parametrize("headers", [{"Origin": "https://example.com"}, {"Host": "example.com"}], ids=["page", "name"])
def test_the_door_on_this_machine_does_not_open_to_other_sites(near: str, headers: dict[str, str]):
    async def connect() -> int:
        async with aiohttp.ClientSession() as session:
            try:
                await session.ws_connect(f"{near}/ws", headers=headers)
            except aiohttp.WSServerHandshakeError as error:
                return error.status
            return 101

    assert requests.get(f"{near}/system_stats", headers=headers, timeout=300).status_code == 403
    assert asyncio.run(asyncio.wait_for(connect(), 300)) == 403


def test_a_door_without_a_key_says_which_variable_it_wants(url: str):
    script = ROOT / "scripts" / "modal_page.py"

    done = subprocess.run([sys.executable, script, url], capture_output=True, text=True, check=False, timeout=300)

    assert done.returncode == 1
    assert "COMFYPORT_PROXY_KEY" in done.stderr


@pytest.mark.skipif("COMFYUI_DIR" not in os.environ, reason="the emulator of ComfyUI keeps no user's files")
def test_a_workflow_that_is_saved_on_the_page_is_kept_on_the_volume(tmp_path: Path):
    image = image_environ(tmp_path, COMFYUI_DIR=os.environ.get("COMFYUI_DIR", ""))
    with deployed(image, COMFYPORT_MODAL_UI="true", COMFYPORT_MODAL_UI_SCALEDOWN="2") as platform:
        url = platform.web_url("comfyport", "Page.*", "show")
        saved = requests.post(
            f"{url}/api/userdata/workflows%2Fa b.json", json={"nodes": []}, headers=PROXY, timeout=100
        )
        opened = requests.get(f"{url}/api/userdata/workflows%2Fa b.json", headers=PROXY, timeout=300)
        asyncio.run(asyncio.wait_for(ended(platform), 300))
        kept = platform.volume_dir("comfyport-models") / "comfyui" / "user" / "default" / "workflows" / "a b.json"

        assert (saved.status_code, opened.json()) == (200, {"nodes": []})
        assert json.loads(kept.read_text()) == {"nodes": []}


async def ended(platform: ModalEmulator) -> None:
    """Returns when every container of the page has ended in good order."""
    while any(page["exit_code"] != 0 for page in platform.containers if page["function"] == "Page.*"):
        await asyncio.sleep(0.1)


def test_comfyui_ends_with_the_container(platform: ModalEmulator, url: str):
    requests.get(url, headers=PROXY, timeout=300)
    log = platform.logs

    asyncio.run(asyncio.wait_for(ended(platform), 300))

    assert log.count("To see the GUI go to") == len(platform.containers)
