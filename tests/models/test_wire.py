"""TLS with an authority of one's own, and proxies, between the downloader and a server."""

import base64
import hashlib
import random
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from emulators.hub import HubEmulator
from tests.conftest import Container, write_lock
from tests.models.relays import ForwardProxy, TlsFront

Start = Callable[..., Container]
BODY = random.Random(1).randbytes((3 << 20) + 17)
WITH_CREDENTIALS = "http://me:pa%3Ass@127.0.0.1"
HEADER = "Basic " + base64.b64encode(b"me:pa:ss").decode()


@pytest.fixture(autouse=True)
def no_proxies_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator(files={"a.bin": BODY}, files_tokens=["t0ken-for-files"]) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def front(hub: HubEmulator, authority: trustme.CA) -> Iterator[TlsFront]:
    """The hub behind TLS, with a certificate for `localhost`."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    with TlsFront(tls, hub.port) as relay:
        yield relay


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    """A file with the authority's certificate."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def sync(start: Start, tmp_path: Path, origin: str, **environ: str) -> tuple[int, str]:
    """Fetches the file from `origin` in a process of its own; exit status and output."""
    source = {"type": "url", "url": f"{origin}/files/a.bin", "auth": "env:FILES_TOKEN"}
    model: dict[str, Any] = {"directory": "checkpoints", "name": "a.bin", "sources": [source], "size": len(BODY)}
    lock = write_lock(tmp_path / "lock.json", model | {"sha256": hashlib.sha256(BODY).hexdigest()})
    ours = {"COMFYPORT_LOCK": str(lock), "FILES_TOKEN": "t0ken-for-files"}
    container = start("comfyport", "models", "sync", "--json", **ours, **environ)
    return container.end(within=60), container.output


def fetched(tmp_path: Path) -> bytes:
    return (tmp_path / "volume/models/checkpoints/a.bin").read_bytes()


def test_a_server_whose_authority_is_in_ssl_cert_file_is_trusted(
    start: Start, tmp_path: Path, front: TlsFront, trusted: str
):
    status, output = sync(start, tmp_path, f"https://localhost:{front.port}", SSL_CERT_FILE=trusted)

    assert status == 0, output
    assert fetched(tmp_path) == BODY


def test_a_server_whose_authority_is_unknown_is_left_at_once_and_told_what_to_do(
    start: Start, tmp_path: Path, front: TlsFront, hub: HubEmulator
):
    status, output = sync(start, tmp_path, f"https://localhost:{front.port}")

    assert status == 1
    assert "SSL_CERT_FILE" in output
    assert "gave up after" not in output
    assert hub.requests == []


def test_a_certificate_for_another_name_is_refused(start: Start, tmp_path: Path, front: TlsFront, trusted: str):
    status, output = sync(start, tmp_path, f"https://127.0.0.1:{front.port}", SSL_CERT_FILE=trusted)

    assert status == 1
    assert "its certificate is not trusted" in output


def test_http_goes_through_a_proxy_that_is_told_the_whole_address(start: Start, tmp_path: Path, hub: HubEmulator):
    with ForwardProxy() as proxy:
        status, output = sync(
            start, tmp_path, f"http://files.example:{hub.port}", http_proxy=f"127.0.0.1:{proxy.port}/"
        )

    assert status == 0, output
    assert fetched(tmp_path) == BODY
    assert proxy.asked[-1] == (f"GET http://files.example:{hub.port}/files/a.bin HTTP/1.1", "")
    assert {request.authorization for request in hub.requests} == {"Bearer t0ken-for-files"}


def test_https_goes_through_a_tunnel_whose_proxy_sees_neither_path_nor_token(
    start: Start, tmp_path: Path, front: TlsFront, trusted: str, hub: HubEmulator
):
    with ForwardProxy(HEADER.encode()) as proxy:
        status, output = sync(
            start,
            tmp_path,
            f"https://localhost:{front.port}",
            SSL_CERT_FILE=trusted,
            HTTPS_PROXY=f"{WITH_CREDENTIALS}:{proxy.port}",
        )

    assert status == 0, output
    assert fetched(tmp_path) == BODY
    # Python 3.11 asks by HTTP/1.0, later ones by 1.1.
    assert {(line.rpartition(" ")[0], sent) for line, sent in proxy.asked} == {
        (f"CONNECT localhost:{front.port}", HEADER)
    }
    assert {request.authorization for request in hub.requests} == {"Bearer t0ken-for-files"}


def test_a_proxys_password_goes_to_the_proxy_and_into_no_output(start: Start, tmp_path: Path, hub: HubEmulator):
    with ForwardProxy(HEADER.encode()) as proxy:
        environ = {"HTTP_PROXY": f"{WITH_CREDENTIALS}:{proxy.port}", "LOG_LEVEL": "debug"}
        status, output = sync(start, tmp_path, f"http://files.example:{hub.port}", **environ)

    assert status == 0, output
    assert {sent for _, sent in proxy.asked} == {HEADER}
    written = [file.read_text(errors="replace") for file in tmp_path.rglob("*.json") if file.is_file()]
    assert not [text for text in (output, *written) if "pa%3Ass" in text or "pa:ss" in text or HEADER[6:] in text]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_other_credentials_says_so_once(
    start: Start, tmp_path: Path, front: TlsFront, hub: HubEmulator, trusted: str, scheme: str
):
    port = front.port if scheme == "https" else hub.port
    with ForwardProxy(b"Basic other") as proxy:
        environ = {f"{scheme}_proxy": f"{WITH_CREDENTIALS}:{proxy.port}", "SSL_CERT_FILE": trusted}
        status, output = sync(start, tmp_path, f"{scheme}://localhost:{port}", **environ)

    assert status == 1
    assert "the proxy answered 407: put user:password@ before the host in HTTP_PROXY" in output
    assert "pa%3Ass" not in output
    assert len(proxy.asked) == 1


def test_a_proxy_that_does_not_let_us_through_is_named_as_what_it_is(
    start: Start, tmp_path: Path, front: TlsFront, trusted: str
):
    with ForwardProxy(b"nobody", refuses=403) as proxy:
        environ = {"https_proxy": f"http://127.0.0.1:{proxy.port}", "SSL_CERT_FILE": trusted}
        status, output = sync(start, tmp_path, f"https://localhost:{front.port}", **environ)

    assert status == 1
    assert "the proxy answered 403" in output


@pytest.mark.parametrize("listed", ["127.0.0.1", "other.example, 127.0.0.1", "*"])
def test_no_proxy_is_honoured(start: Start, tmp_path: Path, hub: HubEmulator, listed: str):
    with ForwardProxy() as proxy:
        environ = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": listed}
        status, output = sync(start, tmp_path, hub.url, **environ)

    assert status == 0, output
    assert proxy.asked == []


@pytest.mark.parametrize("proxy", ["socks5://me:secret@host:1", "http://me:secret@host:port", "http://"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable_and_not_shown(start: Start, tmp_path: Path, proxy: str):
    status, output = sync(start, tmp_path, "http://files.example", http_proxy=proxy)

    assert status == 1
    assert "HTTP_PROXY is '********': write http://host:port" in output
    assert "secret" not in output
