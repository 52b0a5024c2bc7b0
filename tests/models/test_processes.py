"""The download step as processes: killed half-way, many at once on one volume, and what they leave behind."""

import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from emulators.hub import HubEmulator
from emulators.hub.faults import Fault, FaultMix
from emulators.hub.shelves import Repo
from tests.conftest import ROOT, Container, container_environ, write_lock

MIB = 1 << 20
Start = Callable[..., Container]
DOWNLOAD = ROOT / "src" / "download-models.sh"


def model(name: str, content: bytes, **fields: Any) -> dict[str, Any]:
    source = {"type": "huggingface", "repo": "owner/name", "revision": "main", "file": name}
    pinned = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"directory": "checkpoints", "name": name, "sources": [source], **pinned, **fields}


def sent(hub: HubEmulator) -> int:
    return sum(request.bytes_sent for request in hub.requests)


def written(volume: Path) -> int:
    """Bytes that the journals of the parts tell of."""
    lines = b"".join(journal.read_bytes() for journal in volume.glob(".comfyport/parts/*/journal")).split(b"\n")[:-1]
    return sum(int(end) - int(start) for start, end in (line.split() for line in lines))


def wait_until(condition: Callable[[], bool], container: Container) -> None:
    while not condition():
        assert container.process.poll() is None, container.end()
        time.sleep(0.01)


def test_after_a_kill_half_way_less_than_55_percent_is_fetched_again(start: Start, tmp_path: Path):
    content = random.Random(1).randbytes(48 * MIB)
    lock = write_lock(tmp_path / "lock.json", model("a.bin", content))
    with HubEmulator({"owner/name": Repo({"a.bin": content})}, rate=2 * MIB) as hub:
        killed = start(DOWNLOAD, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)
        wait_until(lambda: written(tmp_path / "volume") >= len(content) // 2, killed)
        killed.end(signal.SIGKILL)
    with HubEmulator({"owner/name": Repo({"a.bin": content})}) as hub:
        finished = start(DOWNLOAD, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)

        assert finished.end(within=60) == 0
        assert sent(hub) < 0.55 * len(content)

    assert (tmp_path / "volume/models/checkpoints/a.bin").read_bytes() == content
    assert list((tmp_path / "volume/.comfyport/parts").iterdir()) == []


@pytest.mark.parametrize("leases_work", [True, False], ids=["leases", "no-leases"])
def test_twenty_processes_at_once_all_end_ready(tmp_path: Path, leases_work: bool):
    contents = {f"{number}.bin": random.Random(number).randbytes(2 * MIB) for number in range(4)}
    lock = write_lock(tmp_path / "lock.json", *(model(name, content) for name, content in contents.items()))
    if not leases_work:
        (tmp_path / "volume/.comfyport").mkdir(parents=True)
        (tmp_path / "volume/.comfyport/leases").mkdir(mode=0o555)
    environ = {"COMFYPORT_LOCK": str(lock)} | ({} if leases_work else {"BREAK_LEASES": "1"})
    with HubEmulator({"owner/name": Repo(contents)}) as hub, ExitStack() as stack:
        whole = container_environ(tmp_path, HF_ENDPOINT=hub.url, **environ)
        program = "import os; from comfyport.models.leases import Leases\n"
        program += "if os.environ.get('BREAK_LEASES'): Leases._win = lambda *_: True\n"
        program += "import sys; sys.argv = ['comfyport', 'models', 'sync', '--json']\n"
        program += "from comfyport.cli.main import main; main()"
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program],
                    env=whole,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(20)
        ]
        ended = [process.communicate(timeout=100) for process in processes]
        fetched = sent(hub)

    assert [process.returncode for process in processes] == [0] * 20, ended
    assert all(json.loads(out.splitlines()[-1])["ok"] for out, _ in ended)
    for name, content in contents.items():
        assert (tmp_path / "volume/models/checkpoints" / name).read_bytes() == content
    if leases_work:
        assert fetched <= sum(map(len, contents.values())) + 1000


@pytest.mark.timeout(240)
def test_a_mix_of_faults_over_200_small_files_ends_with_200_right_files(start: Start, tmp_path: Path):
    contents = {f"{number}.bin": random.Random(number).randbytes(3000 + number) for number in range(200)}
    lock = write_lock(tmp_path / "lock.json", *(model(name, content) for name, content in contents.items()))
    passing = ("truncate", "reset", "429", "503", "flip_bit", "ignore_range", "416", "redirect_other_host", "empty")
    mix = FaultMix(seed=7, names=passing, chance=0.5, per_file=2, retry_after=0)
    with HubEmulator({"owner/name": Repo(contents)}, faults=[mix]) as hub:
        container = start(DOWNLOAD, "--json", COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url)

        assert container.end(within=200) == 0, container.output

    for name, content in contents.items():
        assert (tmp_path / "volume/models/checkpoints" / name).read_bytes() == content


@pytest.fixture
def gated_hub() -> Iterator[HubEmulator]:
    repo = Repo({"a.bin": b"a model" * 1000}, gated=True)
    faults = [Fault("redirect_other_host"), Fault("503", times=1, retry_after=0)]
    with HubEmulator({"owner/name": repo}, tokens=["hf_topsecret"], faults=faults) as hub:
        yield hub


def test_the_token_appears_nowhere_but_in_requests_to_the_hub(start: Start, gated_hub: HubEmulator, tmp_path: Path):
    lock = write_lock(tmp_path / "lock.json", model("a.bin", b"a model" * 1000), model("none.bin", b"x"))

    container = start(DOWNLOAD, "--json", COMFYPORT_LOCK=str(lock), HF_ENDPOINT=gated_hub.url, HF_TOKEN="hf_topsecret")
    container.end()

    assert {request.role for request in gated_hub.requests if request.authorization} == {"hub"}
    assert "hf_topsecret" not in container.output
    assert '"state": "downloaded"' in container.output
    written = [file for folder in ("volume", "run") for file in (tmp_path / folder).rglob("*") if file.is_file()]
    assert not [file for file in written if b"hf_topsecret" in file.read_bytes()]
    signature = re.compile(rb"Signature=|Expires=")
    assert not [file for file in written if signature.search(file.read_bytes())]


def test_a_warm_start_opens_no_socket_and_loads_nothing_for_one(tmp_path: Path, start: Start):
    content = b"a model" * 1000
    lock = write_lock(tmp_path / "lock.json", model("a.bin", content))
    with HubEmulator({"owner/name": Repo({"a.bin": content})}) as hub:
        start(DOWNLOAD, COMFYPORT_LOCK=str(lock), HF_ENDPOINT=hub.url).end()
    program = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(event) if event.startswith("socket.") else None)
sys.argv = ["comfyport", "models", "sync"]
from comfyport.cli.main import main
try:
    main()
finally:
    heavy = {"requests", "huggingface_hub", "http.client", "ssl", "tenacity"} & set(sys.modules)
    print("opened", opened, "loaded", sorted(heavy))
"""

    container = start(sys.executable, "-c", program, COMFYPORT_LOCK=str(lock))

    assert container.end() == 0
    assert "models: 1 of 1 ready, 0.0 MB downloaded" in container.output
    assert "opened [] loaded []" in container.output


def test_a_full_disk_is_told_and_the_next_start_goes_on(start: Start, tmp_path: Path):
    content = random.Random(1).randbytes(24 * MIB)
    unsized = {key: value for key, value in model("a.bin", content).items() if key != "size"}
    lock = write_lock(tmp_path / "lock.json", unsized)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with HubEmulator({"owner/name": Repo({"a.bin": content})}) as hub:
            full = start(DOWNLOAD, COMFYPORT_LOCK=str(lock), COMFYPORT_VOLUME=str(small), HF_ENDPOINT=hub.url)
            assert full.end() == 1
            assert "Enlarge the volume" in full.output
            assert "Traceback" not in full.output
            assert list((small / "models").rglob("*.bin")) == []
            subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
            before = sent(hub)
            again = start(DOWNLOAD, COMFYPORT_LOCK=str(lock), COMFYPORT_VOLUME=str(small), HF_ENDPOINT=hub.url)
            assert again.end() == 0, again.output
            assert sent(hub) - before < len(content)
            assert (small / "models/checkpoints/a.bin").read_bytes() == content
    finally:
        subprocess.run(["umount", str(small)], check=True)
