"""One file over real sockets, with what goes wrong there: the right file, or a clear error and nothing left of it."""

import dataclasses
import hashlib
import json
import os
import random
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comfyport.errors import ComfyportError, SourceFailed, WrongDigest, WrongSize
from comfyport.models.access import Access
from comfyport.models.events import Event, FileAdvanced, FileStarted, Stopped
from comfyport.models.fetching import Brought, Fetcher
from comfyport.models.lock import Entry
from comfyport.models.owner import Owner
from comfyport.models.probe import retry_after
from comfyport.models.transfer import Patience
from comfyport.models.volume import Volume
from comfyport.models.wire import Wire
from emulators.hub import HubEmulator
from emulators.hub.faults import Fault, FaultName
from emulators.hub.shelves import Repo
from emulators.server import LoopbackServer
from tests.conftest import entry

MIB = 1 << 20
BODY = random.Random(1).randbytes(5 * MIB + 17)
SHA256 = hashlib.sha256(BODY).hexdigest()
HURRIED = Patience(first_pause=0.01, longest_pause=0.02, silence=10.0, longest_retry_after=0.05)
IMPATIENT = dataclasses.replace(HURRIED, silence=0.5)


def serving(*faults: Fault, body: bytes = BODY, **options: Any) -> HubEmulator:
    return HubEmulator({"owner/name": Repo({"a.safetensors": body})}, faults=faults, **options)


def pinned(**fields: Any) -> Entry:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.safetensors"}
    return entry(**({"size": len(BODY), "sha256": SHA256, "sources": [source]} | fields))


def fetch(
    hub: HubEmulator,
    volume: Volume,
    wanted: Entry | None = None,
    *,
    token: str = "",
    stop: threading.Event | None = None,
    patience: Patience = HURRIED,
) -> Brought:
    fetcher = Fetcher(
        volume,
        Access(hub.url, token),
        connections=4,
        observe=lambda event: None,
        stop=stop or threading.Event(),
        patience=patience,
    )
    return fetcher.bring(wanted or pinned())


def content(volume: Volume) -> bytes:
    return volume.file("checkpoints/a.safetensors").read_bytes()


def left_over(volume: Volume) -> list[str]:
    return [path.name for path in volume.models.rglob("*") if path.is_file()]


def test_fetches_a_file_in_pieces_over_several_connections(volume: Volume):
    with serving() as hub:
        brought = fetch(hub, volume)

    assert content(volume) == BODY
    assert brought.transferred == len(BODY)
    assert len({request.range for request in hub.requests if request.role == "cdn"}) == 7
    assert list(volume.parts.iterdir()) == []


def test_the_receipt_tells_where_it_came_from_without_the_signature(volume: Volume):
    with serving() as hub:
        fetch(hub, volume)

    receipt = volume.receipt("checkpoints/a.safetensors")
    assert receipt is not None
    assert (receipt.size, receipt.sha256) == (len(BODY), SHA256)
    assert receipt.source == f"{hub.url}/owner/name/resolve/main/a.safetensors"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("truncate", at=1000, times=3),
        Fault("truncate", at=200_000, times="always"),
        Fault("reset", at=1000, times=3),
        Fault("reset", at=200_000, times="always"),
        Fault("stall", at=1000, times=2),
        Fault("slow", rate=500, times=2),
        Fault("429", times=2, retry_after=1),
        Fault("429", times=2, where="resolve"),
        Fault("503", times=3, retry_after=0),
        Fault("503", times=2, where="resolve", retry_after=0),
        Fault("flip_bit"),
        Fault("ignore_range", times="always"),
        Fault("416", times=2),
        Fault("redirect_other_host", times=2),
        Fault("expired_signature", after=3),
        Fault("wrong_length", times=2),
        Fault("empty"),
        Fault("login_page", after=2),
    ],
    ids=lambda fault: f"{fault.name}-{fault.where}-{fault.times}",
)
def test_ends_with_the_right_file_in_spite_of(volume: Volume, fault: Fault):
    with serving(fault) as hub:
        fetch(hub, volume, patience=IMPATIENT if fault.name in ("stall", "slow") else HURRIED)

    assert content(volume) == BODY


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault("truncate", at=0, times="always"), SourceFailed, "gave up after"),
        (Fault("stall", at=0, times="always"), SourceFailed, "silent"),
        (Fault("429", times="always", retry_after=0), SourceFailed, "429"),
        (Fault("503", times="always", where="resolve", retry_after=0), SourceFailed, "503"),
        (Fault("flip_bit", times="always"), WrongDigest, "Nothing was kept"),
        (Fault("login_page", times="always", where="resolve"), SourceFailed, "a web page"),
        (Fault("login_page", times="always"), SourceFailed, "a web page"),
        (Fault("json_error", times="always"), SourceFailed, "a JSON answer"),
        (Fault("gzip_encoding", times="always"), SourceFailed, "compressed"),
        (Fault("wrong_length", times="always"), ComfyportError, ""),
        (Fault("empty", times="always"), ComfyportError, ""),
        (Fault("change_mid_way", after=2, times="always"), ComfyportError, ""),
    ],
    ids=lambda value: f"{value.name}-{value.where}" if isinstance(value, Fault) else "",
)
def test_ends_with_a_clear_error_and_nothing_in_place(
    volume: Volume, fault: Fault, error: type[ComfyportError], says: str
):
    with serving(fault) as hub, pytest.raises(error) as told:
        fetch(hub, volume, patience=IMPATIENT if fault.name == "stall" else HURRIED)

    assert says in told.value.message
    assert "checkpoints/a.safetensors" in told.value.message
    assert left_over(volume) == []


def test_another_size_at_the_source_is_told_before_the_first_byte(volume: Volume):
    with serving(body=BODY + b"more") as hub, pytest.raises(WrongSize, match="the lock says"):
        fetch(hub, volume)

    assert sum(request.bytes_sent for request in hub.requests) == 0


def test_another_digest_at_the_hub_is_told_before_the_first_byte(volume: Volume):
    with serving(body=BODY[:-1] + b"x") as hub, pytest.raises(WrongDigest):
        fetch(hub, volume)

    assert sum(request.bytes_sent for request in hub.requests) == 0


def test_a_token_goes_to_the_hub_and_to_nobody_else(volume: Volume):
    repo = Repo({"a.safetensors": BODY}, gated=True)
    faults = [Fault("redirect_other_host", times=1), Fault("expired_signature", after=2)]
    with HubEmulator({"owner/name": repo}, tokens=["hf_secret"], faults=faults) as hub:
        fetch(hub, volume, token="hf_secret")

    told = {request.role for request in hub.requests if request.authorization}
    assert told == {"hub"}
    assert content(volume) == BODY


def test_a_gated_file_says_which_variable_opens_it(volume: Volume):
    with (
        HubEmulator({"owner/name": Repo({"a.safetensors": BODY}, gated=True)}) as hub,
        pytest.raises(SourceFailed, match="set HF_TOKEN to a token that may read this file"),
    ):
        fetch(hub, volume)


def test_a_wrong_token_is_never_repeated(volume: Volume):
    repo = Repo({"a.safetensors": BODY}, gated=True)
    with HubEmulator({"owner/name": repo}, tokens=["right"]) as hub, pytest.raises(SourceFailed) as told:
        fetch(hub, volume, token="wrong-token")

    assert "HF_TOKEN is set" in told.value.message
    assert "wrong-token" not in told.value.message


def test_a_server_that_is_gone_is_a_clear_error(volume: Volume):
    with serving() as hub:
        pass

    with pytest.raises(SourceFailed, match="connection failed"):
        fetch(hub, volume)


def test_a_plain_address_without_length_or_ranges_works(volume: Volume):
    body = b"no weights, but a file"
    source = {"type": "url", "url": "HERE/files/notes.txt"}
    with HubEmulator(files={"notes.txt": body}, faults=[Fault("ignore_range", times="always")]) as hub:
        source["url"] = source["url"].replace("HERE", hub.url)
        fetch(hub, volume, entry("docs", "notes.txt", sources=[source]))

    assert volume.file("docs/notes.txt").read_bytes() == body


def test_an_empty_file_is_refused_when_nothing_is_known_of_it(volume: Volume):
    with serving(body=b"") as hub, pytest.raises(SourceFailed, match="empty"):
        fetch(hub, volume, pinned(size=None, sha256=None))

    assert left_over(volume) == []


def test_a_file_that_nobody_knows_is_checked_by_its_format(volume: Volume):
    with serving() as hub, pytest.raises(ComfyportError, match="not what its name says"):
        fetch(hub, volume, pinned(size=None, sha256=None))

    assert left_over(volume) == []
    assert list(volume.parts.iterdir()) == []


def test_goes_on_where_a_process_that_is_gone_has_stopped(volume: Volume):
    stop = threading.Event()
    seen: list[int] = []

    def stop_half_way(event: Event) -> None:
        if isinstance(event, FileAdvanced):
            seen.append(event.bytes_done)
            if event.bytes_done > len(BODY) // 2:
                stop.set()

    with serving(rate=4 * MIB) as hub:
        fetcher = Fetcher(volume, Access(hub.url), connections=4, observe=stop_half_way, stop=stop, patience=HURRIED)
        with pytest.raises(Stopped):
            fetcher.bring(pinned())
        there = max(seen)
        for folder in volume.parts.iterdir():
            (folder / "owner.json").write_text(json.dumps(a_dead_owner().as_json()))
        brought = fetch(hub, volume)

    assert brought.transferred <= len(BODY) - there
    assert content(volume) == BODY


def test_a_damaged_leftover_costs_a_second_download_and_no_more(volume: Volume):
    folder = volume.parts / f"{SHA256}.left"
    folder.mkdir()
    (folder / "data").write_bytes(bytes(len(BODY)))
    (folder / "journal").write_text(f"0 {len(BODY)}\n12 ")
    make_old(folder)

    with serving() as hub:
        fetch(hub, volume)

    assert content(volume) == BODY


def a_dead_owner() -> Owner:
    """A process of this machine that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return dataclasses.replace(Owner.me(), pid=ended.pid, started=1)


def make_old(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        os.utime(path, (1, 1))


@pytest.mark.parametrize("name", ["truncate", "503"])
def test_stops_at_once_when_asked(volume: Volume, name: FaultName):
    stop = threading.Event()
    stop.set()

    with serving(Fault(name, at=0, times="always")) as hub, pytest.raises(Stopped):
        fetch(hub, volume, stop=stop)


def leave_to_the_next(volume: Volume) -> None:
    """Makes the process that wrote the parts a dead one."""
    for folder in volume.parts.iterdir():
        (folder / "owner.json").write_text(json.dumps(a_dead_owner().as_json()))


def test_what_a_source_gave_before_it_broke_is_kept_for_the_next_start(volume: Volume):
    broken = Fault("503", after=3, times="always", retry_after=0)
    with serving(broken) as hub, pytest.raises(SourceFailed, match="503"):
        fetch(hub, volume)
    leave_to_the_next(volume)

    with serving() as hub:
        brought = fetch(hub, volume)

    assert content(volume) == BODY
    assert brought.transferred < len(BODY)
    assert list(volume.parts.iterdir()) == []


def test_the_next_source_goes_on_where_the_first_broke(volume: Volume):
    first, second = (
        {"type": "huggingface", "repo": f"owner/{name}", "revision": "main", "file": "a.safetensors"}
        for name in ("one", "two")
    )
    repos = {f"owner/{name}": Repo({"a.safetensors": BODY}) for name in ("one", "two")}
    broken = Fault("503", path="owner/one/*", after=3, times="always", retry_after=0)
    with HubEmulator(repos, faults=[broken]) as hub:
        brought = fetch(hub, volume, pinned(sources=[first, second]))
        sent = sum(request.bytes_sent for request in hub.requests)

    assert brought.source.startswith(f"{hub.url}/owner/two/")
    assert content(volume) == BODY
    assert brought.transferred < len(BODY)
    assert sent < len(BODY) + 10


def test_bytes_that_were_refused_are_not_kept(volume: Volume):
    with serving(Fault("flip_bit", times="always")) as hub, pytest.raises(WrongDigest):
        fetch(hub, volume)

    assert list(volume.parts.iterdir()) == []


def test_what_is_there_already_is_told_when_a_file_is_begun(volume: Volume):
    with serving(Fault("503", after=3, times="always", retry_after=0)) as hub, pytest.raises(SourceFailed):
        fetch(hub, volume)
    leave_to_the_next(volume)
    events: list[Event] = []

    with serving() as hub:
        stop = threading.Event()
        Fetcher(volume, Access(hub.url), connections=4, observe=events.append, stop=stop, patience=HURRIED).bring(
            pinned()
        )

    assert isinstance(events[0], FileStarted)
    assert 0 < events[0].bytes_there < len(BODY)
    assert events[-1] == FileAdvanced("checkpoints/a.safetensors", len(BODY))


def test_a_wait_may_be_asked_for_by_date(volume: Volume):
    dates: list[str] = [format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True), "7", "soon", ""]
    dates += ["Fri, 31 Dec 1999 23:59:59 GMT", "-7"]

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": dates[int(request.match_info["number"])]})

    app = web.Application()
    app.add_routes([web.get("/{number}", refuse)])
    with LoopbackServer(app) as server:
        wire = Wire(10.0)
        asked = [retry_after(wire.get(f"{server.url}/{number}", {})) for number in range(len(dates))]
        wire.close()

    assert 60 < asked[0] <= 120
    assert asked[1:] == [7.0, 0.0, 0.0, 0.0, 0.0]
