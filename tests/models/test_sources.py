"""Sources: what is asked of whom, who sees a token at each hop, and pages that look like files."""

import hashlib
import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aiohttp import web

from comfyport.errors import InvalidSetting, SourceFailed
from comfyport.models.access import Access
from comfyport.models.fetching import Brought, Fetcher
from comfyport.models.lock import Entry
from comfyport.models.sources import Request, origin, request_for, sendable
from comfyport.models.transfer import Patience
from comfyport.models.volume import Volume
from emulators.hub import CivitaiFile, CivitaiVersion, HubEmulator
from emulators.hub.faults import Fault
from emulators.hub.shelves import Repo
from emulators.server import LoopbackServer
from tests.conftest import entry

BODY = random.Random(1).randbytes(200_017)
OTHER = random.Random(2).randbytes(100_003)
TOKEN = "s3cret-token"
HURRIED = Patience(attempts=3, first_pause=0.01, longest_pause=0.02, silence=10.0, longest_retry_after=0.05)
HF = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": "a.bin"}


def wanted(source: Mapping[str, Any], body: bytes = BODY) -> Entry:
    return entry(name="a.bin", sources=[source], size=len(body), sha256=hashlib.sha256(body).hexdigest())


def fetch(volume: Volume, model: Entry, access: Access) -> Brought:
    quiet = {"observe": lambda event: None, "stop": threading.Event(), "patience": HURRIED}
    return Fetcher(volume, access, connections=4, **quiet).bring(model)


def brought(volume: Volume) -> bytes:
    return volume.file("checkpoints/a.bin").read_bytes()


# Hugging Face


def test_hf_endpoint_names_another_hub(volume: Volume):
    with HubEmulator({"owner/name": Repo({"a.bin": BODY})}) as hub:
        fetch(volume, wanted(HF), Access(f"{hub.url}"))

    assert hub.requests[0].path == "/owner/name/resolve/main/a.bin"
    assert brought(volume) == BODY


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_a_token_opens_what_is(volume: Volume, kind: str):
    repo = Repo({"a.bin": BODY}, gated=kind == "gated", private=kind == "private")
    with HubEmulator({"owner/name": repo}, tokens=[TOKEN]) as hub:
        fetch(volume, wanted(HF), Access(hub.url, TOKEN))

    assert brought(volume) == BODY
    assert {request.role for request in hub.requests if request.authorization} == {"hub"}


@pytest.mark.parametrize(
    ("kind", "token", "says"),
    [
        ("gated", "", "set HF_TOKEN to a token"),
        ("private", "", "set HF_TOKEN to a token"),
        ("gated", TOKEN, "HF_TOKEN is set: check that its owner may read this file"),
    ],
)
def test_who_may_not_read_it_is_told_what_to_do(volume: Volume, kind: str, token: str, says: str):
    repo = Repo({"a.bin": BODY}, gated=kind == "gated", private=kind == "private", readers=frozenset())
    with HubEmulator({"owner/name": repo}, tokens=[TOKEN]) as hub, pytest.raises(SourceFailed) as told:
        fetch(volume, wanted(HF), Access(hub.url, token))

    assert says in told.value.message
    assert TOKEN not in told.value.message
    assert len(hub.requests) == 1


def test_a_file_with_an_awkward_name_is_asked_for_by_that_name(volume: Volume):
    name = "fp16 ü/50% #1?&a+b.bin"
    with HubEmulator({"owner/name": Repo({name: BODY})}) as hub:
        fetch(volume, wanted(HF | {"file": name}), Access(hub.url))

    assert brought(volume) == BODY


# Civitai


@pytest.fixture
def civitai() -> dict[int, CivitaiVersion]:
    files = [CivitaiFile(7, "a.bin", OTHER), CivitaiFile(8, "b.bin", BODY, primary=True)]
    return {42: CivitaiVersion(files)}


@pytest.mark.parametrize(("file_id", "body"), [(None, BODY), (7, OTHER), (8, BODY)])
def test_a_version_gives_its_primary_file_or_the_one_asked_for(
    volume: Volume, civitai: dict[int, CivitaiVersion], file_id: int | None, body: bytes
):
    source = {"type": "civitai", "version_id": 42, "file_id": file_id}
    with HubEmulator(civitai=civitai, tokens=[TOKEN]) as hub:
        fetched = fetch(volume, wanted(source, body), Access(civitai_endpoint=hub.url, civitai_token=TOKEN))

    assert brought(volume) == body
    # Presigned storage answers 400 to a token: it has seen none.
    assert {request.role for request in hub.requests if request.authorization} == {"civitai"}
    assert fetched.source == "civitai version 42" + (f" file {file_id}" if file_id else "")


def test_a_login_names_the_variable(volume: Volume, civitai: dict[int, CivitaiVersion]):
    source = {"type": "civitai", "version_id": 42}
    with HubEmulator(civitai=civitai, tokens=[TOKEN]) as hub, pytest.raises(SourceFailed, match="set CIVITAI_TOKEN"):
        fetch(volume, wanted(source), Access(civitai_endpoint=hub.url))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("login_page", where="resolve", times="always"), "a web page, most often a login page"),
        (Fault("json_error", where="resolve", times="always"), "a JSON answer instead of the file"),
        (Fault("login_page", times="always"), "a web page"),
    ],
    ids=["login", "json", "page-from-storage"],
)
def test_a_page_that_looks_like_success_is_told_as_what_it_is(
    volume: Volume, civitai: dict[int, CivitaiVersion], fault: Fault, says: str
):
    source = {"type": "civitai", "version_id": 42}
    unpinned = wanted(source).model_copy(update={"size": None, "sha256": None})
    versions = {42: CivitaiVersion(civitai[42].files, needs_login=False)}
    with HubEmulator(civitai=versions, faults=[fault]) as hub, pytest.raises(SourceFailed) as told:
        fetch(volume, unpinned, Access(civitai_endpoint=hub.url))

    assert says in told.value.message
    assert "set CIVITAI_TOKEN" in told.value.message
    assert list(volume.models.rglob("*.bin")) == []


def test_civitai_and_its_second_name_share_a_token_and_no_other_host_does():
    source = entry(sources=[{"type": "civitai", "version_id": 42}]).sources[0]

    ours = request_for(source, Access(civitai_token=TOKEN))
    mirrored = request_for(source, Access(civitai_endpoint="https://mirror.example", civitai_token=TOKEN))

    assert ours.origins == {"https://civitai.com", "https://civitai.red"}
    assert mirrored.origins == {"https://mirror.example"}


# Plain addresses


def test_a_token_from_the_environment_opens_a_plain_address(volume: Volume):
    with HubEmulator(files={"a b/ü.bin": BODY}, files_tokens=[TOKEN]) as hub:
        source = {"type": "url", "url": f"{hub.url}/files/a%20b/ü.bin", "auth": "env:MY_TOKEN"}
        fetch(volume, wanted(source), Access(environ={"MY_TOKEN": f"{TOKEN}\n"}))

    assert brought(volume) == BODY
    assert {request.authorization for request in hub.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("value", ["", " ", "two words", "line\nbreak", "tökén"])
def test_a_token_that_cannot_be_sent_is_named_by_its_variable_and_not_shown(volume: Volume, value: str):
    source = {"type": "url", "url": "http://127.0.0.1:9/a", "auth": "env:MY_TOKEN"}

    with pytest.raises(InvalidSetting) as told:
        fetch(volume, wanted(source), Access(environ={"MY_TOKEN": value}))

    assert "MY_TOKEN" in told.value.message
    assert not value.strip() or value not in told.value.message


# Who sees the token


class Hops(LoopbackServer):
    """Serves `BODY` at /file and redirects /to/NAME to what `leads` names; `seen` is each host and authorization."""

    def __init__(self, leads: dict[str, str]) -> None:
        self.leads = leads
        self.seen: list[tuple[str, str | None]] = []
        app = web.Application()
        app.add_routes([web.get("/to/{name}", self._redirect), web.get("/file", self._serve)])
        super().__init__(app)

    def authorizations(self, host: str) -> set[str | None]:
        return {value for asked, value in self.seen if asked.startswith(host)}

    def _note(self, request: web.Request) -> None:
        self.seen.append((request.headers["Host"], request.headers.get("Authorization")))

    async def _redirect(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(status=302, headers={"Location": self.leads[request.match_info["name"]]})

    async def _serve(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(body=BODY, headers={"Content-Type": "application/octet-stream"})


@pytest.fixture
def hops() -> Iterator[Hops]:
    with Hops({}) as server:
        yield server


def follow(volume: Volume, hops: Hops, first: str) -> None:
    source = {"type": "url", "url": f"{hops.url}/to/{first}", "auth": "env:MY_TOKEN"}
    fetch(volume, wanted(source), Access(environ={"MY_TOKEN": TOKEN}))


def test_a_redirect_on_the_same_host_keeps_the_token(volume: Volume, hops: Hops):
    hops.leads |= {"first": "/to/second", "second": f"{hops.url}/file"}

    follow(volume, hops, "first")

    assert {value for _, value in hops.seen} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:{port}/file",
        "http://127.0.0.1:{port}@localhost:{port}/file",
        "http://user:password@localhost:{port}/file",
        "//localhost:{port}/file",
    ],
    ids=["name", "host-as-user", "user", "no-scheme"],
)
def test_another_name_of_the_same_machine_sees_no_token(volume: Volume, hops: Hops, address: str):
    hops.leads["first"] = address.format(port=hops.port)

    follow(volume, hops, "first")

    assert hops.authorizations("127.0.0.1") == {f"Bearer {TOKEN}"}
    assert hops.authorizations("localhost") == {None}
    assert brought(volume) == BODY


def test_another_port_sees_no_token_and_the_way_back_does_again(volume: Volume, hops: Hops):
    with Hops({}) as other:
        hops.leads["first"] = f"{other.url}/to/back"
        other.leads["back"] = f"{hops.url}/file"
        follow(volume, hops, "first")

    assert {value for _, value in other.seen} == {None}
    assert hops.authorizations("127.0.0.1") == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("ftp://127.0.0.1/file", "no http address"),
        ("file:///etc/passwd", "no http address"),
        ("http://127.0.0.1:port/file", "no http address"),
        ("http://[::1/file", "no http address"),
        ("https:///file", "no http address"),
        ("/to/first", "redirects more than"),
    ],
)
def test_a_redirect_to_nowhere_is_a_clear_error(volume: Volume, hops: Hops, location: str, says: str):
    hops.leads["first"] = location

    with pytest.raises(SourceFailed, match=says):
        follow(volume, hops, "first")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://huggingface.co/a", True),
        ("https://HuggingFace.co:443/a", True),
        ("https://user@huggingface.co/a", True),
        ("http://huggingface.co/a", False),
        ("http://huggingface.co:443/a", False),
        ("https://huggingface.co:8443/a", False),
        ("https://huggingface.co./a", False),
        ("https://cdn-lfs.huggingface.co/a", False),
        ("https://huggingface.co.evil.example/a", False),
        ("https://evilhuggingface.co/a", False),
        ("https://huggingface.co@evil.example/a", False),
        ("https://huggingface.co:443@evil.example/a", False),
        ("https://evil.example/@huggingface.co/a", False),
        ("https://evil.example?@huggingface.co/a", False),
        ("https://evil.example#@huggingface.co/a", False),
        ("https://hugging\u0195ace.co/a", False),
    ],
)
def test_a_token_is_bound_to_scheme_host_and_port(address: str, expected: bool):
    token_for = request_for(entry(sources=[HF]).sources[0], Access(hf_token=TOKEN)).origins

    assert (origin(sendable(address)) in token_for) is expected


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://host/a b/ü.bin?x=ü&y=%20#part", "https://host/a%20b/%C3%BC.bin?x=%C3%BC&y=%20"),
        ("https://bücher.example:8443/a", "https://xn--bcher-kva.example:8443/a"),
        ("https://me:secret@host/a", "https://host/a"),
        ("http://[::1]:8000/a", "http://[::1]:8000/a"),
        ("https://host/a?X-Amz-Signature=ab%2Fc%3D&b=c+d/e=~", "https://host/a?X-Amz-Signature=ab%2Fc%3D&b=c+d/e=~"),
    ],
)
def test_an_address_goes_over_the_wire_in_ascii(address: str, sent: str):
    assert sendable(address) == sent


def test_what_is_shown_of_an_address_holds_no_secret():
    assert Request("https://me:secret@host:1/a?token=secret#secret").shown == "https://host:1/a"
    assert TOKEN not in repr(Request("https://host/a", TOKEN)) + repr(Access(hf_token=TOKEN, civitai_token=TOKEN))
