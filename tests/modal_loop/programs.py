"""The programs of the loop around Modal, run as a person runs them, against the emulated platform."""

import subprocess
import sys
from pathlib import Path

from emulators.modal import ModalEmulator
from tests.conftest import EMULATOR, ROOT, free_port, write_lock

KEY = "modal-key"
SECRET = {"comfyport": {"COMFYPORT_API_KEY": KEY}}


def container_variables(folder: Path) -> dict[str, str]:
    """What the image would set: a ComfyUI, a lock that asks for nothing, no GPU."""
    return {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(write_lock(folder / "models.lock.json")),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYUI_PORT": str(free_port()),
    }


def program(
    name: str, platform: ModalEmulator, *arguments: str | Path, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """scripts/modal-NAME.sh with a bare environment; `environ` comes on top."""
    given = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": "/nonexistent",
        **platform.environment(),
        "COMFYPORT_API_KEY": KEY,
        **environ,
    }
    return subprocess.run(
        [ROOT / "scripts" / f"modal-{name}.sh", *arguments],
        env={key: value for key, value in given.items() if value},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def states(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """What was found, by what was looked at: `ok`, `note`, `skip` or `FAIL`; the worst of each."""
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        state, _, rest = line.partition("  ")
        if state.strip() in ("ok", "note", "skip", "FAIL"):
            name = rest.strip().split("  ")[0]
            found[name] = state.strip() if found.get(name) != "FAIL" else "FAIL"
    return found


def advice(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The lines that say what to do."""
    return [line.split("do: ", 1)[1] for line in done.stdout.splitlines() if line.strip().startswith("do: ")]
