"""ComfyUI itself: its version, whether it knows the flags that it is given, its port and the worker's, its state."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

from comfyport.comfyui import ports
from comfyport.comfyui.launch import Installation
from comfyport.doctor.finding import Finding
from comfyport.errors import PortInUse
from comfyport.status import Board

AREA = "comfyui"
SECONDS = 5.0
_VERSION = re.compile(r"__version__\s*=\s*[\"']([^\"']+)")
_FLAG = re.compile(r"add_argument\(\s*[\"'](--[a-z0-9-]+)(?:[\"']\s*,\s*[\"'](--?[a-z0-9-]+))?")


def examine(installation: Installation) -> Iterator[Finding]:
    """Findings on the ComfyUI in a folder, by reading two of its files."""
    version = _read(installation.directory / "comfyui_version.py", _VERSION)
    said = f"{version[0] if version else 'of an unknown version'}, in {installation.directory}"
    yield Finding(AREA, "version", "ok", f"{said}, run by {installation.python}")
    given = [argument.partition("=")[0] for argument in installation.arguments if argument.startswith("--")]
    known = set(_read(installation.directory / "comfy" / "cli_args.py", _FLAG))
    # argparse takes the beginning of an option's name for the whole.
    unknown = [flag for flag in given if known and not any(name.startswith(flag) for name in known)]
    if unknown:
        fix = "Take it out of COMFYUI_ARGS: ComfyUI does not start with a flag that it does not know."
        yield Finding(AREA, "flags", "problem", f"this ComfyUI has no {', '.join(unknown)}", fix)
    elif given:
        yield Finding(AREA, "flags", "ok", " ".join(installation.arguments))


def examine_port(host: str, port: int, *, setting: str, path: str) -> Finding:
    """Whether a port is free, or held by a worker or a ComfyUI, which answer at `path`."""
    try:
        ports.require_free(host, port, setting=setting)
    except PortInUse as error:
        if answer := _answer(port, path):
            return Finding(AREA, f"port {port}", "ok", f"{answer} (a worker runs here)")
        reason, _, fix = error.message.partition(". ")
        return Finding(AREA, f"port {port}", "problem", reason, fix or f"Set {setting} to another port.")
    except OSError as error:
        return Finding(AREA, f"port {port}", "problem", f"{host} cannot be listened on: {error.strerror}", "Set HOST.")
    return Finding(AREA, f"port {port}", "ok", "free")


def examine_board(board: Board) -> Iterator[Finding]:
    """What a running worker says of its ComfyUI, if there is one."""
    section = board.read("comfyui")
    if section is None:
        return
    state, error = section.get("state", "unknown"), section.get("last_error")
    if state == "failed" or error:
        fix = "Read the container's log: ComfyUI's last lines stand there."
        yield Finding(AREA, "state", "problem" if state == "failed" else "note", f"{state}; {error}", fix)
    else:
        yield Finding(AREA, "state", "ok", state)


def _answer(port: int, path: str) -> str:
    """What answers there, in a few words; empty if nothing does that we know."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        content = json.loads(response.read(1 << 20) or b"null")
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    if isinstance(content, dict) and isinstance(content.get("system"), dict):
        return f"ComfyUI {content['system'].get('comfyui_version', '')} answers".replace("  ", " ")
    return "comfyport answers" if isinstance(content, dict) and "workers" in content else ""


def _read(file: Path, pattern: re.Pattern[str]) -> list[str]:
    """All that `pattern` finds in a file, which may not be there."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [group for found in pattern.finditer(text) for group in found.groups() if group]
