import importlib.metadata
import json
import subprocess
import sys

import pytest

from emulators.modal import ModalEmulator
from emulators.modal.platform import MODAL_VERSION
from tests.emulators.modal_cli import SECRETS, modal, write_project


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "deploy", write_project(folder))
        assert done.returncode == 0, done.stdout + done.stderr
        yield platform


@pytest.fixture
def record(deployed):
    return deployed.deployments[-1]


def functions(record):
    return {function["name"]: function for function in record["functions"]}


def test_the_installed_modal_is_the_version_whose_private_protocol_is_played():
    installed = importlib.metadata.version("modal")

    assert installed == MODAL_VERSION, (
        f"modal {installed} is installed, but emulators/modal plays the private protocol of {MODAL_VERSION}. "
        "Install that version, or check every RPC against the new client and change MODAL_VERSION."
    )


def test_records_the_app_and_its_objects(record):
    assert (record["name"], record["environment"], record["version"]) == ("sample", "main", 1)
    assert set(functions(record)) == {
        *("write", "fail", "count", "dawdle", "falter"),
        *("Worker.*", "api", "private"),
    }
    assert record["classes"] == ["Worker"]


def test_records_what_a_gpu_class_asks_for(record):
    worker = functions(record)["Worker.*"]

    assert worker["gpu"] == ["L40S", "A100-80GB:2"]
    assert worker["methods"] == ["add", "wait"]
    assert (worker["timeout"], worker["startup_timeout"]) == (600, 600)
    assert worker["scaling"]["max_containers"] == 1
    assert worker["scaling"]["scaledown_window"] == 60
    assert worker["scaling"]["max_inputs"] == 2
    assert worker["snapshot"] == {"memory": True, "gpu": False}
    assert worker["volumes"] == {"/cache": {"name": "cache", "version": 2, "read_only": False}}


def test_records_what_a_cpu_function_asks_for(record):
    write = functions(record)["write"]

    assert (write["gpu"], write["cpu"], write["memory"]) == ([], 2.0, 512)
    assert write["secrets"] == [{"name": "tokens", "keys": ["HF_TOKEN", "OTHER"], "required_keys": ["HF_TOKEN"]}]


def test_never_writes_the_values_of_secrets_into_the_record(record):
    assert "hf_123" not in json.dumps(record)


def test_records_the_image_and_what_was_uploaded_for_it(record):
    (image,) = record["images"]
    layer = image["layers"][0]

    assert "COPY settings.txt models/ /opt/" in layer["commands"]
    assert layer["context"] == [{"path": "/models/list.txt", "size": 8}, {"path": "/settings.txt", "size": 5}]
    assert layer["build_args"] == {"FLAVOUR": "small"}
    assert image["environment"] == {"GREETING": "hello"}
    assert image["entrypoint"] == '["/start.sh"]'


def test_records_that_only_the_entry_file_is_mounted(record):
    uploaded = [file["path"] for mount in record["mounts"] for file in mount["files"]]

    assert uploaded == ["/root/modal_app.py"]


def test_reports_the_address_of_a_web_function(deployed, record):
    (web,) = functions(record)["api"]["web"]

    assert web["type"] == "asgi_app"
    assert web["url"] == deployed.web_url("sample", "api")


def test_plays_every_rpc_that_deploying_asks_for(deployed):
    assert "AppPublish" in deployed.calls
    assert deployed.not_played == []


@pytest.mark.parametrize(
    ("secrets", "complaint"),
    [({}, "'tokens' not found"), ({"tokens": {"OTHER": "x"}}, "missing the required key(s): HF_TOKEN")],
)
def test_refuses_a_deployment_whose_secret_is_missing(tmp_path, secrets, complaint):
    with ModalEmulator(secrets=secrets) as platform:
        done = modal(platform, "deploy", write_project(tmp_path))

    assert done.returncode == 1
    assert complaint in done.stdout + done.stderr
    assert platform.deployments == []


def test_fails_the_build_at_the_line_that_copies_what_was_not_uploaded(tmp_path):
    entry = write_project(tmp_path, "FROM python:3.11\nCOPY settings.txt absent.txt /opt/\n")
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "deploy", entry)

    assert done.returncode == 1
    assert "line 2: COPY settings.txt absent.txt /opt/" in done.stdout + done.stderr
    assert "absent.txt: not found in the build context." in done.stdout + done.stderr


def test_refuses_a_gpu_that_modal_does_not_offer(tmp_path):
    entry = write_project(tmp_path)
    entry.write_text(entry.read_text().replace('"L40S"', '"RTX-9999"'))
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "deploy", entry)

    assert done.returncode == 1
    assert "'RTX-9999' is not a GPU type" in done.stdout + done.stderr


def test_says_clearly_which_rpc_it_does_not_play(caplog):
    with ModalEmulator() as platform:
        done = modal(platform, "queue", "list")

    assert done.returncode != 0
    assert platform.not_played == ["QueueList"]
    assert "QueueList, which the Modal emulator does not play" in caplog.text


def test_the_program_runs_a_command_against_the_platform_and_writes_the_report(tmp_path):
    report = tmp_path / "report.json"
    entry = write_project(tmp_path)
    program = [sys.executable, "-m", "emulators.modal", "--report", str(report), "--secret"]
    command = [*program, "tokens=HF_TOKEN=a=b", "--", sys.executable, "-m", "modal", "deploy", str(entry)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in json.loads(report.read_text())["deployments"]] == ["sample"]


def test_ends_with_the_exit_status_of_the_command():
    command = [sys.executable, "-m", "emulators.modal", "--", "sh", "-c", 'test -n "$MODAL_SERVER_URL" && exit 7']

    done = subprocess.run(command, check=False)

    assert done.returncode == 7
