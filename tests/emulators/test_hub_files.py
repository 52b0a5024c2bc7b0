import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from emulators.hub import HubEmulator, SparseContent
from emulators.hub.ranges import Selection, select_range

BODY = bytes(range(250)) * 4


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator(files={"dir/a.bin": BODY, "empty.bin": b""}) as emulator:
        yield emulator


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("bytes=0-0", Selection(206, 0, 1, "bytes 0-0/1000")),
        ("bytes=0-99", Selection(206, 0, 100, "bytes 0-99/1000")),
        ("bytes=900-", Selection(206, 900, 100, "bytes 900-999/1000")),
        ("bytes=990-2000", Selection(206, 990, 10, "bytes 990-999/1000")),
        ("bytes=-100", Selection(206, 900, 100, "bytes 900-999/1000")),
        ("bytes=-5000", Selection(206, 0, 1000, "bytes 0-999/1000")),
        ("BYTES = 1-2", Selection(206, 1, 2, "bytes 1-2/1000")),
        ("bytes=1000-", Selection(416, 0, 0, "bytes */1000")),
        ("bytes=5000-6000", Selection(416, 0, 0, "bytes */1000")),
        ("bytes=-0", Selection(416, 0, 0, "bytes */1000")),
        ("bytes=9-5", Selection(200, 0, 1000)),
        ("bytes=0-1,5-6", Selection(200, 0, 1000)),
        ("bytes=a-b", Selection(200, 0, 1000)),
        ("bytes=-", Selection(200, 0, 1000)),
        ("chunks=0-1", Selection(200, 0, 1000)),
    ],
)
def test_a_range_is_read_as_rfc_9110_says(asked: str, answer: Selection) -> None:
    assert select_range(asked, size=1000) == answer


def test_a_whole_file_comes_with_length_and_a_strong_etag(hub: HubEmulator) -> None:
    answer = requests.get(f"{hub.url}/files/dir/a.bin")

    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["Content-Length"] == "1000"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"')


def test_head_has_the_headers_of_get(hub: HubEmulator) -> None:
    answer = requests.head(f"{hub.url}/files/dir/a.bin", headers={"Range": "bytes=0-9"})

    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "1000")
    assert hub.requests[0].bytes_sent == 0


def test_a_part_comes_with_its_place(hub: HubEmulator) -> None:
    answer = requests.get(f"{hub.url}/files/dir/a.bin", headers={"Range": "bytes=100-299"})

    assert (answer.status_code, answer.content) == (206, BODY[100:300])
    assert answer.headers["Content-Range"] == "bytes 100-299/1000"
    assert answer.headers["Content-Length"] == "200"
    assert (hub.requests[0].range, hub.requests[0].bytes_sent) == ("bytes=100-299", 200)


def test_a_range_behind_the_end_is_416_with_the_size(hub: HubEmulator) -> None:
    answer = requests.get(f"{hub.url}/files/dir/a.bin", headers={"Range": "bytes=1000-"})

    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == "bytes */1000"


def test_if_range_gives_the_part_of_the_same_file_and_all_of_another(hub: HubEmulator) -> None:
    url = f"{hub.url}/files/dir/a.bin"
    etag = requests.head(url).headers["ETag"]

    same = requests.get(url, headers={"Range": "bytes=5-", "If-Range": etag})
    other = requests.get(url, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    weak = requests.get(url, headers={"Range": "bytes=5-", "If-Range": f"W/{etag}"})

    assert [answer.status_code for answer in (same, other, weak)] == [206, 200, 200]


def test_conditions_come_before_ranges(hub: HubEmulator) -> None:
    url = f"{hub.url}/files/dir/a.bin"
    etag = requests.head(url).headers["ETag"]

    known = requests.get(url, headers={"If-None-Match": f'"x", {etag}', "Range": "bytes=0-1"})
    failed = requests.get(url, headers={"If-Match": '"x"', "Range": "bytes=0-1"})

    assert [known.status_code, failed.status_code] == [304, 412]


def test_an_empty_file_is_served(hub: HubEmulator) -> None:
    answer = requests.get(f"{hub.url}/files/empty.bin")

    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")


def test_a_missing_file_is_not_found(hub: HubEmulator) -> None:
    assert requests.get(f"{hub.url}/files/other.bin").status_code == 404


def test_a_guarded_host_asks_for_a_token() -> None:
    with HubEmulator(files={"a.bin": BODY}, files_tokens={"secret"}) as hub:
        url = f"{hub.url}/files/a.bin"

        without = requests.get(url)
        wrong = requests.get(url, headers={"Authorization": "Bearer other"})
        right = requests.get(url, headers={"Authorization": "Bearer secret"})

    assert [answer.status_code for answer in (without, wrong, right)] == [401, 401, 200]
    assert without.headers["WWW-Authenticate"] == "Bearer"


def test_a_file_on_disk_is_served(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(BODY * 1000)
    with HubEmulator(files={"big.bin": path}) as hub:
        answer = requests.get(f"{hub.url}/files/big.bin", headers={"Range": "bytes=123456-654321"})

    assert answer.content == (BODY * 1000)[123456:654322]


def test_sparse_content_of_many_gigabytes_is_readable_anywhere() -> None:
    size = 50 * 1024**3
    content = SparseContent(size, sha256="0" * 64)
    with HubEmulator(files={"huge.safetensors": content}) as hub:
        url = f"{hub.url}/files/huge.safetensors"
        middle = requests.get(url, headers={"Range": f"bytes={size // 2}-{size // 2 + 3_000_000}"})
        tail = requests.get(url, headers={"Range": "bytes=-1000"})

    assert middle.content == content.read(size // 2, 3_000_001)
    assert tail.headers["Content-Range"] == f"bytes {size - 1000}-{size - 1}/{size}"


def test_sparse_content_is_the_same_however_it_is_cut() -> None:
    content = SparseContent(3_500_000, seed=7)

    whole = content.read(0, content.size)

    assert b"".join(content.chunks(0, content.size, 77_777)) == whole
    assert content.sha256 == hashlib.sha256(whole).hexdigest()
    assert whole[:16] != whole[1024 * 1024 : 1024 * 1024 + 16]
    assert len(gzip.compress(whole[:100_000])) > 90_000


def test_a_path_of_the_cdn_is_not_served_beside_the_files(hub: HubEmulator) -> None:
    assert requests.get(f"{hub.cdn_url}/files/dir/a.bin").status_code == 404
