"""One file over a real socket, with what goes wrong there."""

import hashlib
import random
import threading
from pathlib import Path

import pytest
import requests
from tenacity import wait_none

from comfyport.errors import ComfyportError, SourceFailed, WrongDigest, WrongSize
from comfyport.models.sources import Request
from comfyport.models.transfer import CHUNK, Fetched, Stopped, Transfer, Wanted
from emulators.hub import HubEmulator
from emulators.hub.faults import Fault, FaultName

BODY = random.Random(1).randbytes(3 * CHUNK + 17)
SHA256 = hashlib.sha256(BODY).hexdigest()
PINNED = Wanted("checkpoints/a.safetensors", len(BODY), SHA256)
UNPINNED = Wanted("checkpoints/a.safetensors", None, None)


def fetch(hub: HubEmulator, tmp_path: Path, wanted: Wanted = PINNED, token: str = "") -> tuple[Fetched, bytes]:
    part = tmp_path / "part"
    with requests.Session() as session:
        fetched = Transfer(
            Request(f"{hub.url}/files/a.safetensors", token, "A_TOKEN"),
            wanted,
            part,
            session=session,
            advance=lambda done: None,
            stop=threading.Event(),
            backoff=wait_none(),
        ).run()
    return fetched, part.read_bytes()


def serving(*faults: Fault, body: bytes = BODY) -> HubEmulator:
    return HubEmulator(files={"a.safetensors": body}, faults=faults)


def test_fetches_a_file_and_its_digest(tmp_path: Path):
    with serving() as hub:
        fetched, content = fetch(hub, tmp_path)

    assert content == BODY
    assert fetched == Fetched(len(BODY), len(BODY), SHA256)


def test_continues_where_the_connection_was_cut(tmp_path: Path):
    with serving(Fault("truncate", at=2 * CHUNK)) as hub:
        fetched, content = fetch(hub, tmp_path)

    assert content == BODY
    assert hub.requests[-1].range is not None
    assert fetched.transferred == len(BODY)


def test_survives_a_connection_that_is_reset(tmp_path: Path):
    with serving(Fault("reset", at=2 * CHUNK)) as hub:
        _, content = fetch(hub, tmp_path)

    assert content == BODY


@pytest.mark.parametrize("name", ["503", "429"])
def test_tries_again_when_the_server_is_busy(tmp_path: Path, name: FaultName):
    with serving(Fault(name, retry_after=0)) as hub:
        _, content = fetch(hub, tmp_path)

    assert content == BODY


def test_gives_up_on_a_server_that_always_cuts(tmp_path: Path):
    with serving(Fault("truncate", at=0, times="always")) as hub, pytest.raises(SourceFailed, match="6 attempts"):
        fetch(hub, tmp_path)

    assert len(hub.requests) == 6


def test_starts_afresh_when_the_server_ignores_the_range(tmp_path: Path):
    with serving(Fault("truncate", at=CHUNK), Fault("ignore_range")) as hub:
        _, content = fetch(hub, tmp_path)

    assert content == BODY


def test_starts_afresh_when_the_file_changes_half_way(tmp_path: Path):
    with (
        serving(Fault("truncate", at=CHUNK), Fault("change_mid_way", times="always")) as hub,
        pytest.raises(WrongDigest),
    ):
        fetch(hub, tmp_path)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("flip_bit", WrongDigest, "Nothing was kept"),
        ("login_page", SourceFailed, "login page"),
        ("gzip_encoding", SourceFailed, "compressed"),
        ("empty", ComfyportError, "bytes"),
        ("json_error", ComfyportError, "bytes"),
    ],
)
def test_refuses_what_is_not_the_file(tmp_path: Path, name: FaultName, error: type[ComfyportError], says: str):
    with serving(Fault(name, times="always")) as hub, pytest.raises(error, match=says):
        fetch(hub, tmp_path)


def test_another_size_than_the_locks_fails_before_the_body(tmp_path: Path):
    with serving(body=BODY + b"more") as hub, pytest.raises(WrongSize, match="the lock says"):
        fetch(hub, tmp_path)

    assert (tmp_path / "part").stat().st_size == 0


def test_an_empty_file_is_refused_even_when_nothing_is_known(tmp_path: Path):
    with serving(body=b"") as hub, pytest.raises(SourceFailed, match="empty"):
        fetch(hub, tmp_path, UNPINNED)


def test_the_digest_of_an_unpinned_file_is_told(tmp_path: Path):
    with serving() as hub:
        fetched, _ = fetch(hub, tmp_path, UNPINNED)

    assert fetched.sha256 == SHA256


def test_a_token_is_not_shown_to_the_host_that_a_redirect_leads_to(tmp_path: Path):
    with serving(Fault("redirect_other_host")) as hub:
        fetch(hub, tmp_path, token="secret-token")

    told = {request.role for request in hub.requests if request.authorization}
    assert told == {"files"}
    assert "elsewhere" in {request.role for request in hub.requests}


def test_a_private_file_says_which_token_opens_it(tmp_path: Path):
    with (
        HubEmulator(files={"a.safetensors": BODY}, files_tokens=["right"]) as hub,
        pytest.raises(SourceFailed, match="set A_TOKEN to a token that may read this file"),
    ):
        fetch(hub, tmp_path)


def test_a_wrong_token_is_never_repeated_in_the_error(tmp_path: Path):
    with HubEmulator(files={"a.safetensors": BODY}, files_tokens=["right"]) as hub, pytest.raises(SourceFailed) as told:
        fetch(hub, tmp_path, token="wrong-token")

    assert "A_TOKEN is set" in told.value.message
    assert "wrong-token" not in told.value.message


def test_a_server_that_is_gone_is_a_clear_error(tmp_path: Path):
    with serving() as hub:
        pass

    with pytest.raises(SourceFailed, match="connection failed"):
        fetch(hub, tmp_path)


def test_stops_within_a_chunk_when_asked(tmp_path: Path):
    stop = threading.Event()
    with serving() as hub, requests.Session() as session, pytest.raises(Stopped):
        Transfer(
            Request(f"{hub.url}/files/a.safetensors"),
            PINNED,
            tmp_path / "part",
            session=session,
            advance=lambda done: stop.set(),
            stop=stop,
        ).run()

    assert (tmp_path / "part").stat().st_size <= CHUNK
