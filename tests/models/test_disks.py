"""Volumes that are too small for an archive, cannot be written to, or go away: a clear error, and nothing lost."""

import io
import random
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.hub import HubEmulator
from emulators.hub.shelves import Repo
from tests.conftest import Container, write_lock
from tests.models.test_processes import model, sent, wait_until, written

MIB = 1 << 20
Start = Callable[..., Container]
# Hexadecimal digits: packed they take little more than half.
BODY = random.Random(1).randbytes(10 * MIB).hex().encode()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def packed(format: str) -> bytes:
    buffer = io.BytesIO()
    if format == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened:
            opened.writestr("a.onnx", BODY)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as opened:
            info = tarfile.TarInfo("a.onnx")
            info.size = len(BODY)
            opened.addfile(info, io.BytesIO(BODY))
    return buffer.getvalue()


def sync(start: Start, disk: Path, lock: Path, hub: HubEmulator | None = None, **environ: str) -> Container:
    where = {"COMFYPORT_LOCK": str(lock), "COMFYPORT_VOLUME": str(disk), "HF_ENDPOINT": hub.url if hub else ""}
    return start("comfyport", "models", "sync", **where, **environ)


@pytest.mark.parametrize("format", ["zip", "tar"])
def test_an_archive_that_does_not_fit_unpacked_is_told_and_not_fetched_again(
    start: Start, tmp_path: Path, disk: Path, format: str
):
    content = packed(format)
    # Without a size nobody can tell before the first byte.
    unsized = {key: value for key, value in model("a.bin", content).items() if key != "size"}
    lock = write_lock(tmp_path / "lock.json", unsized | {"archive": {"format": format, "into": "insightface"}})
    with HubEmulator({"owner/name": Repo({"a.bin": content})}) as hub:
        full = sync(start, disk, lock, hub)

        assert full.end(within=60) == 1
        assert f"on {disk} " in full.output
        assert "Enlarge the volume" in full.output
        assert ("0.00 GB are free" in full.output) is (format == "tar"), "a zip tells in advance what it takes"
        assert "Traceback" not in full.output
        assert not (disk / "models/insightface").exists()
        assert not list((disk / ".comfyport/parts").glob("unpacked.*"))

        remount(disk, "size=64m")
        before = sent(hub)
        again = sync(start, disk, lock, hub)
        assert again.end(within=60) == 0, again.output
        assert sent(hub) - before <= 1

    assert (disk / "models/insightface/a.onnx").read_bytes() == BODY


def test_a_volume_that_can_only_be_read_is_fine_if_it_holds_everything(start: Start, tmp_path: Path, disk: Path):
    lock = write_lock(tmp_path / "lock.json", model("a.bin", b"a model"))
    with HubEmulator({"owner/name": Repo({"a.bin": b"a model"})}) as hub:
        remount(disk, "size=100m")
        assert sync(start, disk, lock, hub).end() == 0
    remount(disk, "ro")

    warm = sync(start, disk, lock)
    verified = start("comfyport", "models", "verify", "--full", "--lock", lock, "--volume", disk)

    assert warm.end() == 0, warm.output
    assert verified.end() == 0, verified.output


def test_a_volume_that_can_only_be_read_and_lacks_a_file_is_a_clear_error(start: Start, tmp_path: Path, disk: Path):
    lock = write_lock(tmp_path / "lock.json", model("a.bin", b"a model"))
    remount(disk, "ro")

    container = sync(start, disk, lock)

    assert container.end() == 1
    assert f"The volume {disk} cannot be used: read-only file system. Mount a writable volume" in container.output
    assert "Traceback" not in container.output


def test_a_volume_that_goes_away_is_told_and_the_next_start_goes_on(start: Start, tmp_path: Path, disk: Path):
    content = random.Random(2).randbytes(8 * MIB)
    lock = write_lock(tmp_path / "lock.json", model("a.bin", content))
    remount(disk, "size=100m")
    kept = tmp_path / "kept"
    kept.mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(kept)], check=True)
    try:
        with HubEmulator({"owner/name": Repo({"a.bin": content})}, rate=MIB) as hub:
            cut_off = sync(start, disk, lock, hub, DOWNLOAD_CONNECTIONS="4")
            wait_until(lambda: written(disk) > len(content) // 4, cut_off)
            subprocess.run(["umount", "-l", str(disk)], check=True)
            assert cut_off.end(within=60) == 1
        with HubEmulator({"owner/name": Repo({"a.bin": content})}) as hub:
            again = sync(start, kept, lock, hub)
            assert again.end(within=60) == 0, again.output
            fetched = sent(hub)

        assert f"The volume {disk} cannot be used: it went away during the download" in cut_off.output
        assert "Traceback" not in cut_off.output
        assert fetched < len(content)
        assert (kept / "models/checkpoints/a.bin").read_bytes() == content
    finally:
        subprocess.run(["umount", "-l", str(kept)], check=False)
