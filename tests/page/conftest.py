"""A real Chromium, and what a page in it asked for and complained of.

Screenshots go to `test-output/page/`, which git ignores.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.conftest import ROOT

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
SCREENSHOTS = ROOT / "test-output" / "page"
# Only what hangs takes so long; a page is waited for, never slept for.
PATIENCE_MILLISECONDS = 60_000
WIDTHS = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}
SCHEMES = ("light", "dark")
# Chromium's own word on any answer of 400 and more.
REFUSAL = re.compile(r"the server responded with a status of (\d{3})")

expect.set_options(timeout=PATIENCE_MILLISECONDS)


class Visit:
    """One page in a browser of its own: `requests` are the addresses that it asked for.

    `complaints` are the errors in its console; `refusals` the statuses of answers that were refused.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.refusals: list[str] = []
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        page.on("request", lambda request: self.requests.append(request))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str, *, locked: bool = False) -> Page:
        """Opens the page of an endpoint, and waits for what it shows first of one that has a key, or has none."""
        self.page.goto(url)
        expect(self.page.locator("#key" if locked else "#run")).to_be_visible()
        return self.page

    def give(self, key: str) -> None:
        """Types the key."""
        self.page.locator("#key-field").fill(key)
        self.page.get_by_role("button", name="Open").click()

    def drop(self, name: str, content: bytes) -> None:
        """Drops a file on the page, as from the desktop."""
        self.page.evaluate(
            """([name, content]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([Uint8Array.from(content)], name));
                document.getElementById("drop").dispatchEvent(
                    new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
            }""",
            [name, list(content)],
        )

    def photograph(self, name: str) -> None:
        """Keeps the whole page as it looks now, at both widths and in both schemes."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for width, size in WIDTHS.items():
            self.page.set_viewport_size(size)
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                self.page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)

    def flaws(self) -> list[str]:
        """What axe finds wrong for people who cannot see or use a mouse, at both widths and in both schemes."""
        found = []
        for width, size in WIDTHS.items():
            self.page.set_viewport_size(size)
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                report = Axe().run(self.page).response
                found += [f"{width} {scheme}: {_told(flaw)}" for flaw in report["violations"]]
        return found

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def _hear(self, message: ConsoleMessage) -> None:
        refused = REFUSAL.search(message.text)
        if refused:
            self.refusals.append(refused[1])
        elif message.type in ("error", "warning"):
            self.complaints.append(message.text)


def _told(flaw: dict[str, Any]) -> str:
    return f"{flaw['id']}: {[node['html'][:200] for node in flaw['nodes']]}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; without one the tests are skipped, in CI they fail."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        reason = "there is no Chromium: scripts/setup-browser.sh"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Its sandbox does not work as root, nor does /dev/shm in small containers.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=arguments, timeout=120_000)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Makes visits; at the end none may have complained, or asked anybody but its own server."""
    made: list[Visit] = []
    with ExitStack() as stack:

        def begin(**options: Any) -> Visit:
            context = browser.new_context(viewport=WIDTHS["wide"], **options)
            stack.callback(context.close)
            made.append(Visit(context.new_page()))
            return made[-1]

        yield begin
        for one in made:
            origin = re.match(r"https?://[^/]+", one.page.url)
            assert one.complaints == []
            assert origin is not None
            assert [request.url for request in one.requests if not _own(request.url, origin[0])] == []


def _own(url: str, origin: str) -> bool:
    return url.startswith((f"{origin}/", f"blob:{origin}/"))
