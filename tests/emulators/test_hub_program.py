import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
UPSCALER = "upscale_models/quickstart-4x.safetensors"


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "emulators.hub", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        try:
            yield process, greeting.split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def test_the_program_serves_the_quickstart_and_leaves_quietly_on_sigterm(tmp_path: Path) -> None:
    url_file = tmp_path / "url"
    with program("--quickstart", "--url-file", str(url_file)) as (process, url):
        answer = requests.head(f"{url}/comfyport/quickstart/resolve/main/{UPSCALER}")
        whole = requests.get(f"{url}/files/quickstart/{UPSCALER}", headers={"Range": "bytes=-100"})
        written = url_file.read_text()

    assert (answer.status_code, answer.headers["X-Linked-Size"]) == (302, "17888836")
    assert len(whole.content) == 100
    assert written == url
    assert process.returncode == 0


def test_the_program_takes_faults_tokens_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.bin").write_bytes(b"abc")
    arguments = ["--folder", str(tmp_path), "--fault", "503:2", "--fault", "empty", "--token", "hf_x"]
    with program(*arguments, "--rate", "5") as (_, url):
        answers = [requests.get(f"{url}/files/sub/a.bin") for _ in range(4)]
        who = requests.get(f"{url}/api/whoami-v2", headers={"Authorization": "Bearer hf_x"})

    assert [(answer.status_code, answer.content[:3]) for answer in answers[2:]] == [(200, b""), (200, b"abc")]
    assert [answer.status_code for answer in answers[:2]] == [503, 503]
    assert who.status_code == 200


def test_an_unknown_fault_is_a_usage_error() -> None:
    command = [sys.executable, "-m", "emulators.hub", "--fault", "meteor"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)

    assert done.returncode == 2
    assert "there is no fault 'meteor'" in done.stderr
