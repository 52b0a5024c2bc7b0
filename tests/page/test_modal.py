"""The status page on Modal: served from a container without a GPU, over a queue that tells less."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests import workflows
from tests.page.conftest import Visit
from tests.serve.modal.deploying import deployed, image_environ

KEY = "modal-key"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the HTTP face, deployed on the emulated Modal."""
    with deployed(image_environ(tmp_path_factory.mktemp("image"))) as platform:
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
    # The key that was missing, and what is not there on Modal: each is asked for once.
    assert set(there.refusals) == {"401", "501"}
    assert len(there.refusals) <= 5
