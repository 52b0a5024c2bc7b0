"""Archives: what is unpacked, what is refused, and that nothing is left behind then."""

import io
import os
import random
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from comfyport.errors import ArchiveRefused
from comfyport.models.archive import CHUNK, largest_unpacked, unpack
from comfyport.models.events import Stopped

BODY = random.Random(3).randbytes(CHUNK + 17)
Format = Literal["zip", "tar"]
FORMATS: tuple[Format, ...] = ("zip", "tar")
PACKERS = ["w", "w:gz", "w:xz", "w:bz2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "into"
    made.mkdir()
    return made


def unpacked(archive: Path, folder: Path, format: Format, **changes: Any) -> list[str]:
    wanted: dict[str, Any] = {"strip": 0, "largest": 1 << 30, "path": "insightface/models/a.zip"} | changes
    return list(unpack(archive, folder, format=format, **wanted))


def zipped(file: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as opened:
        for member, body in members:
            opened.writestr(member, body)
    return file


def tarred(file: Path, *members: tuple[str | tarfile.TarInfo, bytes], mode: Any = "w", form: int = 1) -> Path:
    with tarfile.open(file, mode, format=form) as opened:
        for member, body in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if isinstance(member, str) and member.endswith("/"):
                info.type = tarfile.DIRTYPE
            info.size = info.size or len(body)
            opened.addfile(info, io.BytesIO(body))
    return file


def packed(format: Format, file: Path, *members: tuple[str, bytes]) -> Path:
    return zipped(file, *members) if format == "zip" else tarred(file, *members)


def zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(archive: Path, folder: Path, format: Format, says: str, **changes: Any) -> None:
    with pytest.raises(ArchiveRefused, match=says) as told:
        unpacked(archive, folder, format, **changes)
    assert "insightface/models/a.zip" in told.value.message
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_unpacks_files_and_folders(tmp_path: Path, folder: Path, format: Format):
    archive = packed(format, tmp_path / "a", ("top/b/c.onnx", BODY), ("top/a.onnx", b""), ("top/empty/", b""))

    assert unpacked(archive, folder, format) == ["top/a.onnx", "top/b/c.onnx"]
    assert (folder / "top/b/c.onnx").read_bytes() == BODY
    assert (folder / "top/empty").is_dir()


@pytest.mark.parametrize("mode", PACKERS)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_unpacks_a_tar_however_it_is_packed(tmp_path: Path, folder: Path, mode: str, form: int):
    long = f"{'d' * 120}/{'n' * 120}ü"
    archive = tarred(tmp_path / "a", (long, BODY), ("b", b"b"), mode=mode, form=form)

    assert unpacked(archive, folder, "tar") == ["b", long]
    assert (folder / long).read_bytes() == BODY


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpacks_a_zip_however_it_is_packed(tmp_path: Path, folder: Path, method: int):
    archive = zipped(tmp_path / "a", ("a.pth", BODY), method=method)

    unpacked(archive, folder, "zip")

    assert (folder / "a.pth").read_bytes() == BODY


@pytest.mark.parametrize("format", FORMATS)
def test_drops_leading_folders(tmp_path: Path, folder: Path, format: Format):
    archive = packed(format, tmp_path / "a", ("top/", b""), ("top/x/a", b"a"), ("b", b"b"), ("top/c", b"c"))

    assert unpacked(archive, folder, format, strip=1) == ["c", "x/a"]
    assert sorted(path.name for path in folder.iterdir()) == ["c", "x"]


@pytest.mark.parametrize("strip", [0, 1, 2])
def test_drops_folders_as_tar_does(tmp_path: Path, folder: Path, strip: int):
    archive = tarred(tmp_path / "a", ("./", b""), ("./top/x/a", b"a"), ("./b/c", b"b"))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", theirs, f"--strip-components={strip}"], check=True)

    ours = unpacked(archive, folder, "tar", strip=strip)

    assert ours == sorted(path.relative_to(theirs).as_posix() for path in theirs.rglob("*") if path.is_file())


@pytest.mark.parametrize("format", FORMATS)
def test_says_when_nothing_is_left(tmp_path: Path, folder: Path, format: Format):
    archive = packed(format, tmp_path / "a", ("top/a", b"a"))

    refused(archive, folder, format, "no file below 2 folders", strip=2)


@pytest.mark.parametrize("format", FORMATS)
def test_leaves_hidden_files_out(tmp_path: Path, folder: Path, format: Format):
    hidden = [("__MACOSX/._a.pth", b"x"), (".DS_Store", b"x"), ("m/.git/config", b"x")]
    archive = packed(format, tmp_path / "a", *hidden, ("m/a.pth", b"a"))

    assert unpacked(archive, folder, format) == ["m/a.pth"]
    assert [path.name for path in folder.iterdir()] == ["m"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "name",
    [
        *("/etc/a", "../a", "a/../../b", "..", ".hidden/../../b", "a\\b", "C:/a", "c:a", "a:b", "a\x01b", "a\x7f"),
        *("NUL", "a/con.txt", "lpt1.bin", "n" * 300, "a./b", "x/" * 40 + "a", "\udce4"),
    ],
)
def test_refuses_a_name_that_does_not_stay_inside(tmp_path: Path, folder: Path, format: Format, name: str):
    if format == "zip" and name == "\udce4":
        pytest.skip("a zip cannot spell it")
    archive = packed(format, tmp_path / "a", ("good", BODY), (name, b"bad"))

    refused(archive, folder, format, "name of its member|folders deep")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "into"]


@pytest.mark.parametrize("strip", [0, 1])
@pytest.mark.parametrize("name", ["/b", "C:/b", "../b"])
def test_refuses_a_bad_name_even_where_it_would_be_dropped(tmp_path: Path, folder: Path, strip: int, name: str):
    archive = tarred(tmp_path / "a", ("top/a", b"a"), (name, b"bad"))

    refused(archive, folder, "tar", f"name of its member '{name}' must", strip=strip)


def test_refuses_a_nul_in_a_zips_name(tmp_path: Path, folder: Path):
    archive = zipped(tmp_path / "a", ("aXb", b"a"))
    archive.write_bytes(archive.read_bytes().replace(b"aXb", b"a\0b"))

    refused(archive, folder, "zip", "control character")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "a"), ("a/b", "A/c"), ("a", "a/"), ("ä", "a\u0308"), ("a", "./a")],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_two_members_for_one_name(tmp_path: Path, folder: Path, format: Format, names: tuple[str, str]):
    archive = packed(format, tmp_path / "a", *((name, b"x" if name[-1] != "/" else b"") for name in names))

    refused(archive, folder, format, "two of its members claim one name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_refuses_whatever_is_no_file_in_a_zip(tmp_path: Path, folder: Path, kind: int):
    archive = zipped(tmp_path / "a", ("good", BODY), (zip_member("bad", kind | 0o644), b"/etc/passwd"))

    refused(archive, folder, "zip", "'bad' is a link or a device")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"M"]
)
def test_refuses_whatever_is_no_file_in_a_tar(tmp_path: Path, folder: Path, kind: bytes):
    archive = tarred(tmp_path / "a", ("good", BODY), (tar_member("bad", kind, "good"), b""))

    refused(archive, folder, "tar", "'bad' is a link or a device|damaged")


def test_takes_no_permissions_over(tmp_path: Path, folder: Path):
    member = tarfile.TarInfo("top/a")
    member.mode, member.uid, member.mtime = 0o4777, 12345, 1
    archive = tarred(tmp_path / "a", (member, b"a"))
    before = os.umask(0o002)
    try:
        unpacked(archive, folder, "tar")
    finally:
        os.umask(before)

    state = (folder / "top/a").stat()
    assert (stat.S_IMODE(state.st_mode), state.st_uid) == (0o644, os.getuid())
    assert state.st_mtime > 1
    assert stat.S_IMODE((folder / "top").stat().st_mode) == 0o755


@pytest.mark.parametrize("format", FORMATS)
def test_refuses_more_bytes_than_it_may_take(tmp_path: Path, folder: Path, format: Format):
    archive = packed(format, tmp_path / "a", ("a", bytes(CHUNK)), ("b", bytes(CHUNK)))

    assert unpacked(archive, folder, format, largest=2 * CHUNK) == ["a", "b"]
    for name in ("a", "b"):
        (folder / name).unlink()
    refused(archive, folder, format, "more than the 2097151 bytes", largest=2 * CHUNK - 1)


@pytest.mark.parametrize("lie", [10, 16 * CHUNK])
def test_refuses_a_zip_that_declares_another_size_than_it_has(tmp_path: Path, folder: Path, lie: int):
    archive = zipped(tmp_path / "a", ("a", bytes(8 * CHUNK)))
    said = (8 * CHUNK).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(said, lie.to_bytes(4, "little")))

    refused(archive, folder, "zip", "damaged")


def test_refuses_a_header_without_end_before_reading_it(tmp_path: Path, folder: Path):
    header = tar_member("path", tarfile.XHDTYPE)
    archive = tarred(tmp_path / "a", (header, bytes(64 * CHUNK)), mode="w:gz")

    refused(archive, folder, "tar", "header is longer than any real one")


def test_refuses_a_member_that_leads_back(tmp_path: Path, folder: Path):
    back = tarfile.TarInfo("a")
    back.pax_headers = {"size": "-4096"}
    archive = tarred(tmp_path / "a", (back, b""), ("b", b"b"), form=tarfile.PAX_FORMAT)

    refused(archive, folder, "tar", "damaged|more than")


@pytest.mark.parametrize("format", FORMATS)
def test_refuses_a_flood_of_members(tmp_path: Path, folder: Path, format: Format):
    # A tar is read member by member: the same folder again and again spares the disk a hundred thousand of them.
    names = (f"{number}/" if format == "zip" else "folder/" for number in range(100_001))
    archive = packed(format, tmp_path / "a", *((name, b"") for name in names))

    refused(archive, folder, format, "more than 100000 members")


def test_refuses_an_encrypted_zip(tmp_path: Path, folder: Path):
    archive = zipped(tmp_path / "a", ("a", b"a"))
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)

    refused(archive, folder, "zip", "'a' is encrypted")


def test_refuses_a_zip_by_an_unknown_method(tmp_path: Path, folder: Path):
    archive = zipped(tmp_path / "a", ("a", b"a"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99
    archive.write_bytes(content)

    refused(archive, folder, "zip", "a method that Python does not know")


def test_says_what_to_use_in_place_of_zstd(tmp_path: Path, folder: Path):
    archive = tmp_path / "a"
    archive.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))

    refused(archive, folder, "tar", "zstd.*use .tar.gz")


def test_refuses_a_zip_with_a_flipped_bit(tmp_path: Path, folder: Path):
    archive = zipped(tmp_path / "a", ("good", b"good"), ("bad", BODY), method=zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    content[CHUNK // 2] ^= 1
    archive.write_bytes(content)

    refused(archive, folder, "zip", "Bad CRC-32 for file 'bad'")


@pytest.mark.parametrize("mode", PACKERS)
def test_refuses_a_tar_that_is_cut_anywhere(tmp_path: Path, folder: Path, mode: str):
    whole = tarred(tmp_path / "whole", ("a", b"a" * 700), ("b", b"b"), mode=mode).read_bytes()
    archive = tmp_path / "a"
    end = 512 * 5 if mode == "w" else len(whole) - 1

    for length in range(0, end, 97 if mode == "w" else 7):
        archive.write_bytes(whole[:length])
        refused(archive, folder, "tar", "damaged or cut short")
    archive.write_bytes(whole[:end])
    refused(archive, folder, "tar", "damaged or cut short")


def test_refuses_a_zip_that_is_cut_anywhere(tmp_path: Path, folder: Path):
    whole = zipped(tmp_path / "whole", ("a", b"a" * 700), ("b", b"b")).read_bytes()
    archive = tmp_path / "a"

    for length in range(len(whole)):
        archive.write_bytes(whole[:length])
        refused(archive, folder, "zip", "damaged or cut short")


def test_refuses_a_zip_that_lost_bytes_in_the_middle(tmp_path: Path, folder: Path):
    whole = zipped(tmp_path / "whole", ("a", BODY), method=zipfile.ZIP_STORED).read_bytes()
    archive = tmp_path / "a"
    archive.write_bytes(whole[:1000] + whole[5000:])

    refused(archive, folder, "zip", "damaged or cut short")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path, folder: Path):
    archive = tarred(tmp_path / "a", ("a", b"a"), ("b", b"b"))
    content = bytearray(archive.read_bytes())
    content[1024] ^= 1
    archive.write_bytes(content)

    refused(archive, folder, "tar", "its end is missing")


@pytest.mark.parametrize("make", [zipped, tarred, lambda file, *members: tarred(file, *members, mode="w:gz")])
def test_whatever_is_damaged_is_the_same_or_refused(tmp_path: Path, folder: Path, make: Callable[..., Path]):
    archive, dice = tmp_path / "a", random.Random(5)
    whole = make(archive, ("x/a", b"a" * 300), ("b", b"b" * 700)).read_bytes()
    format: Format = "zip" if make is zipped else "tar"

    for _ in range(300):
        content = bytearray(whole)
        for _ in range(dice.choice((1, 3))):
            content[dice.randrange(len(content) if format == "zip" else min(len(content), 2100))] = dice.randrange(256)
        archive.write_bytes(content)
        try:
            for name in unpacked(archive, folder, format, largest=CHUNK):
                (folder / name).unlink()
        except ArchiveRefused:
            assert list(folder.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_stops_when_asked_and_leaves_nothing(tmp_path: Path, folder: Path, format: Format):
    archive = packed(format, tmp_path / "a", ("a", BODY))
    stop = threading.Event()
    stop.set()

    with pytest.raises(Stopped):
        unpacked(archive, folder, format, stop=stop)

    assert list(folder.iterdir()) == []


class StopAtSecondBlock(threading.Event):
    """Is set once a block of the file stands on the disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def is_set(self) -> bool:
        return any(path.is_file() and path.stat().st_size >= CHUNK for path in self.folder.iterdir())


@pytest.mark.parametrize("format", FORMATS)
def test_stops_in_the_middle_of_a_file(tmp_path: Path, folder: Path, format: Format):
    archive = packed(format, tmp_path / "a", ("a", bytes(64 * CHUNK)))

    with pytest.raises(Stopped):
        unpacked(archive, folder, format, stop=StopAtSecondBlock(folder))

    assert list(folder.iterdir()) == []


ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from comfyport.errors import DiskFull
from comfyport.models.archive import unpack
archive, folder, format = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", folder], check=True)
try:
    unpack(archive, folder, format=format, strip=0, largest=1 << 30, path="a")
except DiskFull as error:
    print(error.details["volume"] == str(folder), error.details["needed"], list(folder.iterdir()))
"""


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, folder: Path, format: Format):
    unshare = ["unshare", "--map-root-user", "--mount"]
    if not Path("/usr/bin/unshare").exists() or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    archive = packed(format, tmp_path / "a", ("a", bytes(CHUNK)), ("b", bytes(4 * CHUNK)))

    ended = subprocess.run(
        [*unshare, sys.executable, "-c", ON_A_SMALL_DISK, archive, folder, format], capture_output=True, text=True
    )

    same_folder, needed, left = ended.stdout.split(" ", 2)
    assert (same_folder, left) == ("True", "[]\n")
    assert 3 * CHUNK <= int(needed) <= 4 * CHUNK


def test_says_what_a_zip_takes_and_that_a_tar_does_not_say(tmp_path: Path):
    archive = zipped(tmp_path / "a.zip", ("a", BODY), ("b/c", b"12345"))

    assert largest_unpacked(archive, "zip", "a.zip") == len(BODY) + 5
    assert largest_unpacked(tarred(tmp_path / "a.tar", ("a", BODY)), "tar", "a.tar") is None


def test_a_zip_that_is_none_takes_nothing_and_says_so(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"<html>")

    with pytest.raises(ArchiveRefused, match="not a zip"):
        largest_unpacked(tmp_path / "a.zip", "zip", "a.zip")
