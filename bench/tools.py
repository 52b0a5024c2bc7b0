"""The tools that are compared, each as the programs that a person would run for the same files."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.content import File
from bench.server import REPOSITORY, REVISION, Host

HUB_CLIENT = Path(__file__).with_name("hub_client.py")


@dataclass(frozen=True)
class Job:
    """What a tool has to do for some files: programs, run one after another, and where the files lie then.

    `environment` is added to a bare one.
    """

    commands: tuple[tuple[str, ...], ...]
    outputs: Path
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """A tool; `program` is None where it is not installed. `job` makes its job in an empty folder."""

    name: str
    program: str | None
    job: Callable[[str, Sequence[File], Host, Path], Job]


def all_tools() -> list[Tool]:
    """Every tool, comfyport first."""
    hub = sys.executable if importlib.util.find_spec("huggingface_hub") else None
    return [
        Tool("comfyport", find("comfyport"), _comfyport),
        Tool("curl", find("curl"), _curl),
        Tool("wget", find("wget"), _wget),
        Tool("aria2c", find("aria2c"), _aria2c),
        Tool("aria2c --checksum", find("aria2c"), _aria2c_checked),
        Tool("huggingface_hub", hub, _huggingface_hub),
        Tool("comfy-cli", find("comfy"), _comfy_cli),
    ]


def find(program: str) -> str | None:
    """The path of a program: beside this Python, else on PATH; None if it is not installed."""
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.is_file() else shutil.which(program)


def bare_environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's but PATH, with this Python's programs first: no proxies, tokens or settings."""
    return {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
    }


def _comfyport(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    lock, volume = folder / "models.lock.json", folder / "volume"
    lock.write_text(json.dumps({"version": 1, "models": [_entry(file) for file in files]}), encoding="utf-8")
    command = (program, "models", "sync", "--lock", str(lock), "--volume", str(volume), "--json")
    environment = {"HF_ENDPOINT": host.hub, "COMFYPORT_RUN_DIR": str(folder / "run")}
    return Job((command,), volume / "models" / "checkpoints", environment)


def _entry(file: File) -> dict[str, object]:
    source = {"type": "huggingface", "repo": REPOSITORY, "revision": REVISION, "file": file.name}
    return {
        "directory": "checkpoints",
        "name": file.name,
        "size": file.size,
        "sha256": file.sha256,
        "sources": [source],
    }


def _curl(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    options = ("--fail", "--silent", "--show-error", "--remote-name-all", "--output-dir", str(folder))
    return Job(((program, *options, *_addresses(files, host)),), folder)


def _wget(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    options = ("--no-config", "--no-verbose", f"--directory-prefix={folder}")
    return Job(((program, *options, *_addresses(files, host)),), folder)


def _aria2c(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    return _aria2c_job(program, files, host, folder, checked=False)


def _aria2c_checked(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    return _aria2c_job(program, files, host, folder, checked=True)


def _aria2c_job(program: str, files: Sequence[File], host: Host, folder: Path, *, checked: bool) -> Job:
    # A checksum for each of several files can be given in an input file only.
    names = folder / "files.txt"
    checksums = [f" checksum=sha-256={file.sha256}\n" if checked else "" for file in files]
    lines = [f"{address}\n{checksum}" for address, checksum in zip(_addresses(files, host), checksums, strict=True)]
    names.write_text("".join(lines), encoding="utf-8")
    connections = ("--max-connection-per-server=16", "--split=16", "--min-split-size=1M")
    options = ("--no-conf", "--quiet", f"--dir={folder}", f"--input-file={names}")
    return Job(((program, *connections, *options),), folder)


def _huggingface_hub(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    arguments = (str(folder), REPOSITORY, REVISION, *(file.name for file in files))
    # Xet needs a storage service that only the real Hub has.
    environment = {"HF_ENDPOINT": host.hub, "HF_HOME": str(folder / "hf-home"), "HF_HUB_DISABLE_XET": "1"}
    return Job(((program, str(HUB_CLIENT), *arguments),), folder, environment)


def _comfy_cli(program: str, files: Sequence[File], host: Host, folder: Path) -> Job:
    options = ("--skip-prompt", "--no-enable-telemetry", "--workspace", str(folder), "model", "download")
    place = ("--relative-path", "models/checkpoints")
    commands = tuple(
        (program, *options, "--url", address, *place, "--filename", file.name)
        for file, address in zip(files, _addresses(files, host), strict=True)
    )
    return Job(commands, folder / "models" / "checkpoints")


def _addresses(files: Sequence[File], host: Host) -> list[str]:
    return [f"{host.files}/{file.name}" for file in files]
