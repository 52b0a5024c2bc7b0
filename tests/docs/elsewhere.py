"""Commands of the documents that are not run beside the others, and why: what they need cannot be on this machine, or
another test runs them at greater length."""

import re
from dataclasses import dataclass

from tests.docs.commands import ROOT, Command


@dataclass(frozen=True)
class Elsewhere:
    """A pattern that the whole command fits, and the test that runs it; without a test, the reason that none can."""

    pattern: str
    test: str = ""
    reason: str = ""

    def fits(self, command: Command) -> bool:
        """Whether this is about the command."""
        return re.fullmatch(self.pattern, command.text, re.DOTALL) is not None


IMAGE = "tests/container/test_life.py"
NOT_TRIED = "no Docker daemon; the file is checked against its schema, and the image is built by buildah in the tests"
ACCOUNT = "it needs an account and a browser"

TABLE = (
    Elsewhere(r"scripts/test\.sh", reason="it is what runs this test"),
    Elsewhere(r"docker build -t \S+ \.( && docker push \S+)?", IMAGE),
    Elsewhere(r"docker run .*", IMAGE),
    Elsewhere(r"(\w+=\S+ )?docker (buildx bake|compose) .*", reason=NOT_TRIED),
    Elsewhere(r"pip install modal && modal setup", reason=ACCOUNT),
    Elsewhere(r".* -m pytest tests/container", "tests/container/conftest.py"),
    Elsewhere(r"\S+/comfyport run \S+ --endpoint runpod:ENDPOINT_ID", "tests/cli/test_run.py"),
    Elsewhere(r"curl .* https://api\.runpod\.ai/v2/ENDPOINT_ID/.*", "tests/emulators/test_runpod_client_api.py"),
    Elsewhere(r".*src/start\.sh", "tests/serve/test_runpod.py"),
)


def elsewhere(command: Command) -> Elsewhere | None:
    """Where the command is run, or why it is not; None if it is run here."""
    return next((entry for entry in TABLE if entry.fits(command)), None)


def is_there(entry: Elsewhere) -> bool:
    """Whether the test that an entry names exists, or a reason is given."""
    return (ROOT / entry.test).is_file() if entry.test else bool(entry.reason)
