"""Which addresses a job can make the worker ask: what counts is where the connection goes in the end."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from comfyport.jobs import addresses
from comfyport.jobs.addresses import AddressRefused, forbidden, parsed
from emulators.server import LoopbackServer

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "2a00::1"]
NEVER = {
    "169.254.169.254": "the metadata service of a cloud",
    "168.63.129.16": "the metadata service of a cloud",
    "100.100.100.200": "the metadata service of a cloud",
    "fd00:ec2::254": "the metadata service of a cloud",
    "169.254.1.1": "a link-local address",
    "fe80::1": "a link-local address",
    "fe80::1%eth0": "a link-local address",
    "0.0.0.0": "an unspecified address",
    "::": "an unspecified address",
    "224.0.0.1": "a multicast address",
    "ff02::1": "a multicast address",
    "255.255.255.255": "a reserved address",
    "240.0.0.1": "a reserved address",
    "198.18.0.1": "a reserved address",
    "192.88.99.1": "a reserved address",
    "4000::1": "a reserved address",
    "fec0::1": "a reserved address",
    "::8.8.8.8": "a reserved address",
    "203.0.113.7": "an address of documentation",
    "2001:db8::1": "an address of documentation",
    "::ffff:8.8.8.8": "an IPv4 address inside of an IPv6 one",
    "::ffff:127.0.0.1": "an IPv4 address inside of an IPv6 one",
    "64:ff9b::808:808": "an IPv4 address inside of an IPv6 one",
    "2002:7f00:1::": "an IPv4 address inside of an IPv6 one",
}
PRIVATE = {
    "127.0.0.1": "a loopback address",
    "127.9.9.9": "a loopback address",
    "::1": "a loopback address",
    "10.0.0.1": "a private address",
    "172.31.255.255": "a private address",
    "192.168.1.1": "a private address",
    "fd12::1": "a private address",
    "100.64.0.1": "an address of a carrier's network",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_asked(address: str):
    assert forbidden(ip_address(address), private=False) is None


@pytest.mark.parametrize(("address", "kind"), (NEVER | PRIVATE).items())
def test_an_address_that_is_not_public_is_called_what_it_is(address: str, kind: str):
    assert forbidden(ip_address(address), private=False) == kind


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_may_be_asked_where_that_is_allowed(address: str):
    assert forbidden(ip_address(address), private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_metadata_services_and_the_like_are_never_asked(address: str):
    assert forbidden(ip_address(address), private=True) is not None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://example.com/", "must start with https://"),
        ("ftp://example.com/", "must start with https://"),
        ("file:///etc/passwd", "must start with https://"),
        ("//example.com/", "must start with https://"),
        ("https://user@example.com/", "a user name or a password"),
        ("https://:secret@example.com/", "a user name or a password"),
        ("https://1.1.1.1@127.0.0.1/", "a user name or a password"),
        ("https://", "not the name of a host"),
        ("https:///path", "not the name of a host"),
        ("https://localhost./", "not the name of a host"),
        ("https://127.0.0.1./", "not the name of a host"),
        ("https://[fe80::1%25eth0]/", "not the name of a host"),
        ("https://[::", "cannot be read"),
        ("https://example.com:99999/", "cannot be read"),
        ("https://example.com:x/", "cannot be read"),
        ("https://127.0.0.1/", "a loopback address"),
        ("https://[::1]:8443/", "a loopback address"),
        ("https://[::]/", "an unspecified address"),
        ("https://[::ffff:7f00:1]/", "an IPv4 address inside"),
        ("https://127。0。0。1/", "a loopback address"),
        ("https://2130706433/", "odd spelling"),
        ("https://0x7f000001/", "odd spelling"),
        ("https://0x7F.1/", "odd spelling"),
        ("https://017700000001/", "odd spelling"),
        ("https://127.1/", "odd spelling"),
        ("https://example.com/a b", "a space, a backslash or a control character"),
        ("https://example.com\\@127.0.0.1/", "a space, a backslash or a control character"),
        ("https://example.com/\r\nX: y", "a space, a backslash or a control character"),
        ("https://example.com/" + "a" * 9000, "more than 8192 characters"),
    ],
)
def test_an_address_of_an_odd_form_is_refused(address: str, reason: str):
    with pytest.raises(AddressRefused) as refused:
        parsed(address, private=False)

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "address", ["https://example.com/a/b%2Fc?x=%2F&y=1", "https://1.1.1.1:8443/", "https://[2606:4700::1]/"]
)
def test_an_ordinary_address_is_asked_for_as_it_is_spelt(address: str):
    assert str(parsed(address, private=False)) == address


def test_a_refusal_does_not_repeat_what_may_be_secret():
    with pytest.raises(AddressRefused) as refused:
        parsed("https://10.0.0.1/path-secret?token=secret", private=False)

    assert "secret" not in str(refused.value)


def test_plain_http_goes_with_private_addresses_only():
    assert parsed("http://10.0.0.1/", private=True).scheme == "http"


class Names(AbstractResolver):
    """A resolver that gives one name another address each time it is asked; the last stays."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    async def hello(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers), headers={"Set-Cookie": "a=b"})

    app = web.Application()
    app.router.add_get("/", hello)
    with LoopbackServer(app) as running:
        yield running


async def reached(url: str, *, private: bool, resolver: AbstractResolver | None = None) -> int:
    async with addresses.session(private=private, resolver=resolver) as session, session.get(url) as response:
        return response.status


async def refusal(url: str, resolver: AbstractResolver | None = None) -> str:
    with pytest.raises(aiohttp.ClientConnectorError) as failed:
        await reached(url, private=False, resolver=resolver)
    assert isinstance(failed.value.os_error, AddressRefused)
    return str(failed.value.os_error)


async def test_the_session_connects_where_it_may(server: LoopbackServer):
    assert await reached(server.url, private=True) == 200


async def test_the_session_does_not_connect_to_a_loopback_address(server: LoopbackServer):
    assert await refusal(server.url) == "it leads to 127.0.0.1, a loopback address"


async def test_a_name_is_refused_by_what_it_leads_to(server: LoopbackServer):
    assert "a loopback address" in await refusal(f"http://localhost:{server.port}")


async def test_a_name_that_changes_after_it_was_looked_up_leads_nowhere_else(server: LoopbackServer):
    rebinding = Names("127.0.0.1")
    assert parsed("https://rebinding.example/", private=False).host == "rebinding.example"

    assert "127.0.0.1" in await refusal(f"http://rebinding.example:{server.port}", rebinding)


async def test_the_session_goes_to_the_address_of_the_name_it_looked_up_and_says_the_name(server: LoopbackServer):
    resolver = Names("127.0.0.1", "169.254.169.254")
    async with (
        addresses.session(private=True, resolver=resolver) as session,
        session.get(f"http://pictures.example:{server.port}/") as response,
    ):
        seen = await response.json()

    assert seen["Host"] == f"pictures.example:{server.port}"


async def test_the_session_takes_nothing_from_the_environment_and_keeps_no_cookies(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
):
    netrc = tmp_path_factory.mktemp("home") / ".netrc"
    netrc.write_text("machine pictures.example login me password secret\n")
    for name, value in {
        "NETRC": str(netrc),
        "http_proxy": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)

    # A jar keeps no cookies of bare addresses in any case.
    url = f"http://pictures.example:{server.port}/"
    async with addresses.session(private=True, resolver=Names("127.0.0.1")) as session:
        await session.get(url)
        async with session.get(url) as response:
            seen = await response.json()

    assert not {"Authorization", "Cookie", "Referer"} & seen.keys()
    assert seen["Accept-Encoding"] == "identity"
