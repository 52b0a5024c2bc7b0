"""`comfyport models` as a person or a script runs it, with stdout and stderr apart."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import container_environ

BODY = b"weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT = "c0ffee0000000000000000000000000000000000"
TOKEN = "s3cret-token"


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which has to be one JSON document."""
        return json.loads(self.out)


def models(folder: Path, *arguments: str, **environ: str) -> Answer:
    """Runs `comfyport models` with the lock, the volume and the run folder below `folder`."""
    whole = container_environ(folder, **environ)
    command = ["comfyport", "models", *arguments]
    done = subprocess.run(command, env=whole, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def entries(folder: Path) -> list[dict[str, Any]]:
    """What the lock has."""
    read: list[dict[str, Any]] = json.loads((folder / "models.lock.json").read_text(encoding="utf-8"))["models"]
    return read
