"""nginx in the place of a model host."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench import CannotMeasureError
from bench.content import MIB, File, make
from bench.server import REPOSITORY, REVISION, Hosts, nginx, serving
from tests.bench.conftest import needs_nginx


@pytest.fixture
def file(tmp_path: Path) -> File:
    return make(tmp_path, "model.bin", 4 * MIB)


@pytest.fixture
def hosts(tmp_path: Path, file: File) -> Iterator[Hosts]:
    with serving(tmp_path, [file], rate=8, folder=tmp_path / "nginx") as running:
        yield running


def ask(url: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request(method, parts.path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@needs_nginx
def test_the_hub_names_commit_size_and_sha256_and_redirects_to_the_files(hosts: Hosts, file: File, tmp_path: Path):
    response, _ = ask(f"{hosts.uncapped.hub}/{REPOSITORY}/resolve/{REVISION}/{file.name}", "HEAD")

    assert response.status == 302
    assert response.headers["X-Repo-Commit"] == REVISION
    assert response.headers["X-Linked-Size"] == str(file.size)
    assert response.headers["X-Linked-Etag"] == response.headers["ETag"] == f'"{file.sha256}"'
    assert ask(response.headers["Location"])[1] == (tmp_path / file.name).read_bytes()


@needs_nginx
def test_the_files_come_in_ranges(hosts: Hosts, file: File, tmp_path: Path):
    response, body = ask(f"{hosts.uncapped.files}/{file.name}", Range="bytes=5-9")

    assert response.headers["Content-Range"] == f"bytes 5-9/{file.size}"
    assert body == (tmp_path / file.name).read_bytes()[5:10]


@needs_nginx
def test_a_small_file_keeps_to_the_limit_of_a_connection_too(hosts: Hosts, file: File):
    started = time.monotonic()
    ask(f"{hosts.capped.files}/{file.name}")

    assert time.monotonic() - started > 0.8 * file.size / (8 * MIB)


@needs_nginx
def test_nothing_listens_any_more_afterwards(file: File, tmp_path: Path):
    with serving(tmp_path, [file], rate=8, folder=tmp_path / "nginx") as hosts:
        pass

    for url in (hosts.uncapped.files, hosts.uncapped.hub, hosts.capped.files, hosts.capped.hub):
        with pytest.raises(ConnectionRefusedError):
            ask(url)


def test_where_nginx_is_missing_it_says_how_to_install_it(tmp_path: Path):
    with pytest.raises(CannotMeasureError, match="apt install nginx-light"):
        nginx(str(tmp_path))
