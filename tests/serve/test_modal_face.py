"""What Modal does to requests at the HTTP face: it redirects the long ones, and guards the door if it is asked to."""

import json
from collections.abc import Iterator

import aiohttp
import pytest
import requests

from emulators.modal import ModalEmulator
from tests.conftest import ROOT
from tests.serve.conftest import job, slow_job
from tests.serve.modal_platform import Face, client, deployment, place_checkpoint, printed

pytestmark = pytest.mark.timeout(200)
# A second each; clients follow 10 to 30 unless told otherwise, which Modal's 150 s make enough.
MANY = 1000
TOKEN = {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    """Requests are redirected after a second; Modal's tokens guard them, since the Secret has no key."""
    with deployment(
        place_checkpoint(tmp_path_factory.mktemp("modal")),
        deploy={"COMFYPORT_MODAL_PROXY_AUTH": "true"},
        env={"COMFYUI_ARGS": "--step-seconds 0.1", "REFRESH_WORKER": "true"},
        secrets={"comfyport": {}},
        proxy_tokens={"wk-1": "ws-1"},
        web_seconds=1.0,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def face(platform: ModalEmulator) -> Face:
    return Face(platform, TOKEN)


def test_modal_itself_guards_the_face_when_the_deployment_asks_for_that(face: Face):
    refused = requests.post(f"{face.url}/run", json=job(), timeout=60)
    health = requests.get(f"{face.url}/health", timeout=60)

    assert (refused.status_code, health.status_code) == (401, 401)
    assert face.run(job())


def test_without_modals_guard_the_secret_must_hold_a_key():
    with ModalEmulator(secrets={"comfyport": {"HF_TOKEN": "hf"}}) as platform:
        refused = client(platform, "-m", "modal", "deploy", str(ROOT / "modal_entry.py"))
        taken = client(
            platform, "-m", "modal", "deploy", str(ROOT / "modal_entry.py"), COMFYPORT_MODAL_PROXY_AUTH="true"
        )

    assert refused.returncode != 0
    assert "COMFYPORT_API_KEY" in refused.stdout + refused.stderr
    assert taken.returncode == 0, taken.stdout + taken.stderr


def test_a_request_that_modal_redirects_ends_with_the_answer_all_the_same(face: Face):
    with requests.Session() as session:
        session.max_redirects = MANY
        answer = session.post(f"{face.url}/runsync", json=slow_job(30), headers=TOKEN, timeout=120)

    assert {response.status_code for response in answer.history} == {303}
    assert answer.json()["status"] == "COMPLETED"
    assert answer.json()["output"]["images"]


async def test_a_client_of_another_kind_follows_too(face: Face):
    url = f"{face.url}/runsync"
    async with (
        aiohttp.ClientSession(headers=TOKEN) as session,
        session.post(url, json=slow_job(31), max_redirects=MANY) as answer,
    ):
        body = await answer.json()

    assert answer.history
    assert body["status"] == "COMPLETED"


def test_a_wait_ends_before_modal_would_redirect_it(face: Face):
    job_id = face.run(slow_job(3000))
    code = f"""import asyncio, modal
from comfyport.serve.modal_service.queue import ModalQueue
queue = ModalQueue(modal.Cls.from_name("comfyport", "ComfyUI")().run, app="comfyport", longest_wait=0.1)
print(asyncio.run(queue.wait("{job_id}", 300)).ended)"""

    ended = printed(client(face.platform, "-c", code))
    face.post(f"/cancel/{job_id}")

    assert ended == "False"


def test_a_worker_that_asks_for_it_is_replaced_after_its_job(face: Face):
    first = face.ended(face.run(job(1)))
    second = face.ended(face.run(job(2)))

    assert first["status"] == second["status"] == "COMPLETED"
    assert first["workerId"] != second["workerId"]
    assert "refresh_worker" not in json.dumps([first, second])
