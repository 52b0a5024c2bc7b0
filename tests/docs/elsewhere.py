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
PLATFORM = "Modal's own command, which the emulator does not play"
IN_FOUR = "tests/cli/test_models_import.py"

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
    Elsewhere(r"(pip install modal\S*|modal setup)", reason=ACCOUNT),
    Elsewhere(r"modal (billing|volume|app) .*", reason=PLATFORM),
    Elsewhere(r"(\w+=\S+ )?scripts/modal-deploy\.sh", "tests/modal_loop/test_deploy.py"),
    Elsewhere(r"scripts/modal-preflight\.sh", "tests/modal_loop/test_preflight.py"),
    Elsewhere(r"scripts/modal-diagnose\.sh", "tests/modal_loop/test_diagnose.py"),
    Elsewhere(r".* -m emulators\.modal .* -- scripts/modal-preflight\.sh", "tests/modal_loop/test_preflight.py"),
    Elsewhere(r"python -m emulators\.modal_builder .*", "tests/emulators/test_modal_builder.py"),
    Elsewhere(r"COMFYPORT_MODAL_SNAPSHOT=true modal deploy .*", "tests/serve/modal/test_snapshot.py"),
    Elsewhere(r"python scripts/modal_page\.py .*", "tests/serve/modal/test_page.py"),
    Elsewhere(r"\S+/comfyport run \S+ --endpoint modal:.*", "tests/cli/test_run.py"),
    Elsewhere(r'export COMFYPORT_URL=.*|curl .*"\$COMFYPORT_URL/.*', "tests/serve/test_modal_face.py"),
    Elsewhere(r"comfyport models add (hf|civitai|url) .*", "tests/cli/test_models_add.py"),
    Elsewhere(r"comfyport models add +#.*|comfyport models remove +#.*", "tests/cli/test_models_add.py"),
    Elsewhere(r"comfyport models lock --upgrade.*", "tests/cli/test_models_add.py"),
    Elsewhere(r"comfyport models import model-list\.json .*", "tests/cli/test_models_import.py"),
    Elsewhere(r"scripts/run-local\.sh( --lock models\.lock\.json)?|comfyport run workflow\.json", IN_FOUR),
    Elsewhere(r"python -m emulators\.hub .*|export HF_ENDPOINT=.*", "tests/emulators/test_hub_program.py"),
)


# Documents whose commands have a test of their own, word for word.
DOCUMENTS_ELSEWHERE = {"docs/recipes.md": "tests/recipes/test_docs.py"}


def elsewhere(command: Command) -> Elsewhere | None:
    """Where the command is run, or why it is not; None if it is run here."""
    if command.document in DOCUMENTS_ELSEWHERE:
        return Elsewhere(".*", DOCUMENTS_ELSEWHERE[command.document])
    return next((entry for entry in TABLE if entry.fits(command)), None)


def is_there(entry: Elsewhere) -> bool:
    """Whether the test that an entry names exists, or a reason is given."""
    return (ROOT / entry.test).is_file() if entry.test else bool(entry.reason)
