import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import pytest
import requests
from huggingface_hub import hf_hub_download

from emulators.hub import FAULT_NAMES, Fault, FaultMix, FaultName, HubEmulator, Repo, SparseContent
from emulators.hub.faults import MIXABLE, Where

BODY = bytes(range(256)) * 8
PART = {"Range": "bytes=1000-1999"}


@contextmanager
def host(*faults: Fault | FaultMix, rate: float | None = None) -> Iterator[tuple[HubEmulator, str]]:
    files = {"a.bin": BODY, "b.bin": BODY}
    repos = {"owner/name": Repo(files={"a.safetensors": BODY})}
    with HubEmulator(repos=repos, files=files, faults=faults, rate=rate) as emulator:
        yield emulator, f"{emulator.url}/files/a.bin"


def test_truncate_ends_cleanly_before_the_promised_length() -> None:
    with host(Fault("truncate", at=600)) as (hub, url):
        connection = HTTPConnection("127.0.0.1", hub.port)
        connection.request("GET", "/files/a.bin")
        answer = connection.getresponse()
        with pytest.raises(IncompleteRead) as caught:
            answer.read()
        connection.close()
        again = requests.get(url).content

    assert answer.headers["Content-Length"] == str(len(BODY))
    assert caught.value.partial == BODY[:600]
    assert again == BODY
    assert [(seen.bytes_sent, seen.fault) for seen in hub.requests] == [(600, "truncate"), (len(BODY), None)]


def test_reset_breaks_the_connection_in_the_body() -> None:
    received = bytearray()
    with host(Fault("reset", at=600)) as (hub, _):
        with socket.create_connection(("127.0.0.1", hub.port)) as connection:
            connection.sendall(b"GET /files/a.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                read_to_the_end(connection, received)
        seen = hub.requests

    assert received.endswith(BODY[:600])
    assert seen[0].fault == "reset"


def read_to_the_end(connection: socket.socket, received: bytearray) -> None:
    while data := connection.recv(4096):
        received += data


def test_stall_sends_a_part_and_then_nothing() -> None:
    with host(Fault("stall", at=600)) as (hub, url):
        connection = HTTPConnection("127.0.0.1", hub.port, timeout=0.2)
        connection.request("GET", "/files/a.bin")
        answer = connection.getresponse()
        first = answer.read(600)
        with pytest.raises(TimeoutError):
            answer.read(1)
        answer.close()
        connection.close()
        again = requests.get(url).content

    assert (first, again) == (BODY[:600], BODY)


def test_slow_keeps_to_its_pace() -> None:
    with host(Fault("slow", rate=10_000)) as (_, url):
        began = time.monotonic()
        content = requests.get(url).content
        seconds = time.monotonic() - began

    assert content == BODY
    assert seconds > len(BODY) / 10_000 * 0.9


def test_the_rate_cap_holds_for_each_connection_on_its_own() -> None:
    durations: list[float] = []

    def download(url: str) -> None:
        began = time.monotonic()
        requests.get(url)
        durations.append(time.monotonic() - began)

    with host(rate=5_000) as (_, url):
        threads = [threading.Thread(target=download, args=(url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    alone = len(BODY) / 5_000
    assert min(durations) > alone * 0.9
    assert max(durations) < alone * 3


def test_an_answer_under_way_follows_a_change_of_the_rate() -> None:
    with host(rate=1) as (emulator, url), requests.get(url, stream=True) as answer:
        first = answer.raw.read(1)
        emulator.rate = None
        rest = answer.raw.read()

    assert first + rest == BODY


@pytest.mark.parametrize(("name", "status"), [("429", 429), ("503", 503)])
def test_too_many_requests_and_unavailable_say_when_to_come_back(name: FaultName, status: int) -> None:
    with host(Fault(name, times=2, retry_after=7)) as (_, url):
        answers = [requests.get(url) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "7"


def test_login_page_and_json_error_claim_to_be_fine() -> None:
    with host(Fault("login_page"), Fault("json_error")) as (_, url):
        page, error, right = (requests.get(url) for _ in range(3))

    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (error.status_code, "error" in error.json()) == (200, True)
    assert right.content == BODY


def test_flip_bit_changes_one_bit_at_the_named_offset() -> None:
    with host(Fault("flip_bit", at=1500)) as (_, url):
        elsewhere = requests.get(url, headers={"Range": "bytes=0-999"}).content
        spoiled = requests.get(url, headers=PART).content
        right = requests.get(url, headers=PART).content

    assert elsewhere == BODY[:1000]
    assert [i for i in range(1000) if spoiled[i] != BODY[1000 + i]] == [500]
    assert spoiled[500] ^ BODY[1500] == 1
    assert right == BODY[1000:2000]


def test_ignore_range_waits_for_a_range_and_sends_everything() -> None:
    with host(Fault("ignore_range")) as (_, url):
        plain = requests.get(url)
        ignored = requests.get(url, headers=PART)
        part = requests.get(url, headers=PART)

    assert [answer.status_code for answer in (plain, ignored, part)] == [200, 200, 206]
    assert ignored.content == BODY


def test_416_refuses_a_good_range() -> None:
    with host(Fault("416")) as (_, url):
        refused = requests.get(url, headers=PART)

    assert (refused.status_code, refused.headers["Content-Range"]) == (416, f"bytes */{len(BODY)}")


def test_change_mid_way_swaps_etag_and_content_after_some_requests() -> None:
    with host(Fault("change_mid_way", after=2, times="always")) as (_, url):
        answers = [requests.get(url, headers=PART) for _ in range(4)]
        guarded = requests.get(url, headers={**PART, "If-Range": answers[0].headers["ETag"]})

    assert [answer.content == BODY[1000:2000] for answer in answers] == [True, True, False, False]
    assert len({answer.headers["ETag"] for answer in answers}) == 2
    assert guarded.status_code == 200


def test_redirect_other_host_leads_to_another_origin_that_notes_the_token() -> None:
    with host(Fault("redirect_other_host")) as (hub, url):
        moved = requests.get(url, headers={"Authorization": "Bearer x"}, allow_redirects=False)
        content = requests.get(moved.headers["Location"], headers={"Authorization": "Bearer x"}).content

    assert content == BODY
    assert moved.headers["Location"].startswith(hub.elsewhere_url)
    assert (hub.requests[1].role, hub.requests[1].authorization) == ("elsewhere", "Bearer x")


def test_an_expired_signature_is_replaced_by_resolving_again() -> None:
    with host(Fault("expired_signature", after=2, times=1)) as (hub, _):
        url = f"{hub.url}/owner/name/resolve/main/a.safetensors"
        signed = requests.get(url, allow_redirects=False).headers["Location"]
        statuses = [requests.get(signed, headers=PART).status_code for _ in range(4)]
        fresh = requests.get(url, allow_redirects=False).headers["Location"]
        later = [requests.get(fresh, headers=PART).status_code for _ in range(4)]

    assert statuses == [206, 206, 403, 403]
    assert later == [206, 206, 206, 206]


def test_wrong_length_is_a_whole_answer_of_another_size() -> None:
    with host(Fault("wrong_length", at=10, times=2)) as (_, url):
        whole = requests.get(url)
        part = requests.get(url, headers=PART)

    assert whole.content == BODY[:-10]
    assert whole.headers["Content-Length"] == str(len(BODY) - 10)
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(BODY) - 10}"


def test_gzip_encoding_ignores_ranges_and_has_no_length() -> None:
    with host(Fault("gzip_encoding")) as (_, url):
        answer = requests.get(url, headers={**PART, "Accept-Encoding": "identity"}, stream=True)
        raw = answer.raw.read(decode_content=False)

    assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert "Content-Length" not in answer.headers
    assert gzip.decompress(raw) == BODY


def test_empty_is_a_whole_answer_without_bytes() -> None:
    with host(Fault("empty")) as (_, url):
        answer = requests.get(url)

    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "0", b"")


def test_a_fault_keeps_to_its_path_and_counts_for_each_file() -> None:
    with host(Fault("503", path="b.*"), Fault("empty")) as (hub, url):
        other = url.replace("a.bin", "b.bin")
        for link in (url, other, other, other, url):
            requests.get(link)

    assert [seen.fault for seen in hub.requests] == ["empty", "503", "empty", None, None]


def test_faults_take_turns_in_their_order() -> None:
    with host(Fault("503"), Fault("empty", times=2)) as (hub, url):
        for _ in range(4):
            requests.get(url)

    assert [seen.fault for seen in hub.requests] == ["503", "empty", "empty", None]


@pytest.mark.parametrize(
    ("where", "path"),
    [("resolve", "/owner/name/resolve/main/a.safetensors"), ("api", "/api/models/owner/name")],
)
def test_a_whole_answer_can_fail_where_no_file_is_sent(where: Where, path: str) -> None:
    with host(Fault("429", where=where)) as (hub, _):
        first = requests.head(f"{hub.url}{path}").status_code
        second = requests.get(f"{hub.url}{path}").status_code

    assert (first, second) == (429, 200)


def test_a_fault_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault 'meteor'"):
        Fault("meteor")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spoils a body"):
        Fault("truncate", where="resolve")


def test_head_neither_suffers_nor_spends_a_fault_of_the_body() -> None:
    with host(Fault("503")) as (_, url):
        answers = [requests.head(url), requests.get(url), requests.get(url)]

    assert [answer.status_code for answer in answers] == [200, 503, 200]


def test_a_client_that_hangs_up_leaves_no_error_behind(caplog: pytest.LogCaptureFixture) -> None:
    with HubEmulator(files={"huge.bin": SparseContent(2**32, sha256="0" * 64)}) as hub:
        for _ in range(5):
            with requests.get(f"{hub.url}/files/huge.bin", stream=True) as answer:
                next(answer.iter_content(1000))

    assert len(hub.requests) == 5
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


def test_a_mix_is_the_same_in_every_run_and_ends() -> None:
    def run(seed: int) -> list[str | None]:
        names: list[FaultName] = [name for name in MIXABLE if name not in {"stall", "slow"}]
        with host(FaultMix(seed, names=names, chance=0.7, per_file=4)) as (hub, url):
            for _ in range(12):
                try_to_get(url)
        return [seen.fault for seen in hub.requests if seen.role == "files"]

    first, second, other = run(1), run(1), run(2)

    assert first == second != other
    assert sum(fault is not None for fault in first) == 4


def try_to_get(url: str) -> None:
    try:
        requests.get(url, headers=PART)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len(FAULT_NAMES) == len(set(FAULT_NAMES)) == 17


def test_huggingface_hub_gets_over_a_truncated_answer(tmp_path: Path) -> None:
    with host(Fault("truncate")) as (hub, _):
        path = hf_hub_download("owner/name", "a.safetensors", endpoint=hub.url, cache_dir=tmp_path, token=False)

    assert Path(path).read_bytes() == BODY
    assert [seen.fault for seen in hub.requests] == [None, "truncate", None]
