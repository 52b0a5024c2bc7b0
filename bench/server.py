"""nginx on loopback in the place of a model host: an origin of files, and a Hub that redirects to it.

The Hub answers `/<repo>/resolve/<revision>/<file>` as huggingface.co does for a large file: 302 to another host, with
X-Repo-Commit, X-Linked-Etag (the sha256) and X-Linked-Size. There is a pair of both without a limit and a pair with
one; the limit holds for each connection.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import CannotMeasureError
from bench.content import File

REPOSITORY = "bench/models"
REVISION = "0123456789abcdef0123456789abcdef01234567"
START_SECONDS = 10.0
# Debian keeps nginx where only root's PATH leads.
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))

_CONFIGURATION = """\
daemon off;
worker_processes {workers};
{user}
pid nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path scratch;
    proxy_temp_path scratch;
    fastcgi_temp_path scratch;
    uwsgi_temp_path scratch;
    scgi_temp_path scratch;
    server {{ listen 127.0.0.1:{files}; root "{content}"; }}
    server {{
        listen 127.0.0.1:{capped_files};
        root "{content}";
        limit_rate {rate}m;
        # nginx limits from the second chunk of an answer on. With its 2 MiB chunks, parts of 4 MiB would arrive at
        # 1.8 times the limit.
        sendfile_max_chunk 512k;
    }}
    server {{ listen 127.0.0.1:{hub};
{redirects}    }}
    server {{ listen 127.0.0.1:{capped_hub};
{capped_redirects}    }}
}}
"""
_REDIRECT = """\
        location = /{repository}/resolve/{revision}/{name} {{
            add_header X-Repo-Commit {revision};
            add_header X-Linked-Etag '"{sha256}"';
            add_header X-Linked-Size {size};
            add_header ETag '"{sha256}"';
            return 302 http://127.0.0.1:{port}/{name};
        }}
"""


@dataclass(frozen=True)
class Host:
    """Two addresses of the same files: the plain one, and a Hub's endpoint."""

    files: str
    hub: str


@dataclass(frozen=True)
class Hosts:
    """The host without a limit, and the one with a limit for each connection."""

    uncapped: Host
    capped: Host


def nginx(places: str = _PLACES) -> str:
    """The path of nginx, looked for as on a PATH. Raises CannotMeasureError if it is not installed."""
    found = shutil.which("nginx", path=places)
    if found is None:
        raise CannotMeasureError("nginx is not installed. On Debian and Ubuntu: apt install nginx-light")
    return found


@contextmanager
def serving(content: Path, files: Sequence[File], *, rate: int, folder: Path) -> Iterator[Hosts]:
    """Serves the files that lie in `content`, at `rate` MiB/s for each connection and without a limit.

    `folder` is nginx's own. Raises CannotMeasureError if nginx is missing or does not start.
    """
    program = nginx()
    (folder / "scratch").mkdir(parents=True)
    ports = free_ports(4)
    (folder / "nginx.conf").write_text(_configuration(content, files, rate, ports), encoding="utf-8")
    errors = folder / "errors.log"
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        for port in ports:
            _wait_open(port, process, errors)
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        yield Hosts(Host(addresses[0], addresses[2]), Host(addresses[1], addresses[3]))
    finally:
        process.terminate()
        process.wait()


def _configuration(content: Path, files: Sequence[File], rate: int, ports: Sequence[int]) -> str:
    plain, capped, hub, capped_hub = ports
    return _CONFIGURATION.format(
        workers=os.cpu_count() or 1,
        # Started by root, nginx would serve as a user who may not look into a private temporary folder.
        user="user root;" if os.geteuid() == 0 else "",
        content=content,
        rate=rate,
        files=plain,
        capped_files=capped,
        hub=hub,
        capped_hub=capped_hub,
        redirects=_redirects(files, plain),
        capped_redirects=_redirects(files, capped),
    )


def _redirects(files: Sequence[File], port: int) -> str:
    return "".join(
        _REDIRECT.format(
            repository=REPOSITORY, revision=REVISION, name=file.name, sha256=file.sha256, size=file.size, port=port
        )
        for file in files
    )


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, each another."""
    # All are held at once, so that they differ.
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listening.getsockname()[1]) for listening in held]
    for listening in held:
        listening.close()
    return ports


def _wait_open(port: int, process: "subprocess.Popen[bytes]", errors: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise CannotMeasureError(f"nginx did not start: {errors.read_text(encoding='utf-8')}") from None
        time.sleep(0.02)
