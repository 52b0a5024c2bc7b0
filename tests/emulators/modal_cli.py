"""What the tests of the Modal emulator share: a project folder, and the real client in processes of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from emulators.modal import ModalEmulator

SECRETS = {"tokens": {"HF_TOKEN": "hf_123", "OTHER": "x"}}
DOCKERFILE = """\
FROM python:3.11-slim
ENV GREETING=hello
COPY settings.txt models/ /opt/
ENTRYPOINT ["/start.sh"]
"""


def write_project(folder: Path, dockerfile: str = DOCKERFILE) -> Path:
    (folder / "models").mkdir()
    (folder / "models" / "list.txt").write_text("one\ntwo\n")
    (folder / "settings.txt").write_text("12345")
    (folder / "Dockerfile").write_text(dockerfile)
    entry = folder / "modal_app.py"
    shutil.copyfile(Path(__file__).with_name("modal_app.py"), entry)
    return entry


def modal(platform: ModalEmulator, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return _run(platform, "-m", "modal", *map(str, arguments))


def ask(platform: ModalEmulator, code: str) -> Any:
    """Runs client code that sets `answer`, and returns that."""
    program = f"import json, time, modal\n{code}\nprint(json.dumps(answer))"
    done = _run(platform, "-c", program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _run(platform: ModalEmulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | platform.environment() | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
