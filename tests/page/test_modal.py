"""The status page on Modal: served from a container without a GPU, over a queue that tells less."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from emulators.modal import ModalEmulator
from tests import workflows
from tests.conftest import EMULATOR, ROOT, free_port, write_lock
from tests.page.conftest import Visit

KEY = "modal-key"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the HTTP face, deployed on the emulated Modal."""
    folder: Path = tmp_path_factory.mktemp("image")
    image = {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(write_lock(folder / "models.lock.json")),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYUI_PORT": str(free_port()),
    }
    with ModalEmulator(secrets={"comfyport": {"COMFYPORT_API_KEY": KEY}}, env=image) as platform:
        command = [sys.executable, "-m", "modal", "deploy", str(ROOT / "modal_entry.py")]
        deployed = subprocess.run(
            command,
            env=os.environ | platform.environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield platform.web_url("comfyport", "api")


def test_the_page_shows_what_there_is_and_runs_a_job(visit: Callable[..., Visit], endpoint: str):
    there = visit()
    page = there.open(endpoint, locked=True)
    expect(page.locator("#worker")).to_contain_text("starts when a job comes")
    expect(page.locator("#models")).to_be_hidden()
    there.give(KEY)
    expect(page.locator("#run")).to_be_visible()
    there.drop("workflow.json", json.dumps(workflows.scaled(0x336699)).encode())
    page.get_by_role("button", name="Run", exact=True).click()

    card = page.locator(".card")
    expect(card).to_have_attribute("data-status", "COMPLETED")
    expect(card.locator(".made img")).to_have_js_property("naturalWidth", 32)
    expect(page.locator("#job-list li")).to_contain_text("1 picture")
    expect(page.locator("#job-list img")).to_be_visible()
    page.locator("#log summary").click()
    expect(page.locator("#log-problem")).to_contain_text("does not offer")
    there.photograph("modal")
    # The key that was missing, and what Modal's queue does not have: each is asked for once.
    assert set(there.refusals) == {"401", "501"}
    assert len(there.refusals) <= 5
