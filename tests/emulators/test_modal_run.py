import http.client
import json
import urllib.error
import urllib.request

import pytest

from emulators.modal import ModalEmulator
from emulators.modal.platform import may_isolate
from tests.emulators.modal_cli import SECRETS, ask, modal, write_project


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    with ModalEmulator(
        secrets=SECRETS, web_seconds=1.0, env={"EXTRA": "given"}, proxy_tokens={"wk-1": "ws-1"}
    ) as platform:
        done = modal(platform, "deploy", write_project(folder))
        assert done.returncode == 0, done.stdout + done.stderr
        yield platform


def fetch(url, *, data=None):
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=30) as response:
        return json.load(response)


def refusal(url, headers=None):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30)
    with caught.value as response:
        return response.code, response.read()


def test_modal_run_runs_a_function_in_the_real_container_runtime(tmp_path):
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "run", f"{write_project(tmp_path)}::write", "--text", "from the cli")
        note = (platform.volume_dir("cache") / "note.txt").read_text()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "writing from the cli" in done.stdout
    assert note == "from the cli"
    assert platform.containers == [{"task_id": "ta-1", "function": "write", "exit_code": 0}]
    assert ("commit", "cache", "ta-1") in [(call.action, call.volume, call.task_id) for call in platform.volume_calls]
    assert platform.not_played == []


def test_modal_run_runs_a_local_entrypoint_with_generators(tmp_path):
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "run", write_project(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "written: hf_123" in done.stdout
    assert "counted: [0, 1, 2]" in done.stdout


def test_modal_run_shows_the_traceback_of_a_function_that_fails(tmp_path):
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "run", f"{write_project(tmp_path)}::fail")

    assert done.returncode == 1
    assert "ValueError: the moon is in the wrong house" in done.stdout + done.stderr
    assert 'File "/root/modal_app.py"' in done.stdout + done.stderr


def test_a_container_that_cannot_import_its_code_fails_the_call(tmp_path):
    entry = write_project(tmp_path)
    entry.write_text(entry.read_text().replace("import modal\n", "import modal\nimport sibling\n", 1))
    (tmp_path / "sibling.py").touch()
    with ModalEmulator(secrets=SECRETS) as platform:
        done = modal(platform, "run", f"{entry}::write")

    assert done.returncode == 1
    assert "No module named 'sibling'" in done.stdout + done.stderr


def test_a_container_finds_what_the_platform_gives_it(deployed):
    seen = ask(deployed, 'answer = modal.Function.from_name("sample", "write").remote()')

    assert (seen["greeting"], seen["token"], seen["extra"]) == ("hello", "hf_123", "given")
    assert seen["local"] == "False"


@pytest.mark.skipif(not may_isolate(), reason="this system allows no mount namespace")
def test_an_isolated_container_finds_its_volume_at_the_mount_path(deployed):
    seen = ask(deployed, 'answer = modal.Function.from_name("sample", "write").remote()')

    assert (seen["folder"], seen["mounted"], seen["cwd"]) == ("/cache", "True", "/root")


def test_without_isolation_a_variable_says_where_the_volume_is(tmp_path):
    with ModalEmulator(secrets=SECRETS, isolated=False) as platform:
        done = modal(platform, "run", f"{write_project(tmp_path)}::write")
        note = (platform.volume_dir("cache") / "note.txt").read_text()

    assert done.returncode == 0, done.stdout + done.stderr
    assert note == "hello"


def test_a_method_runs_after_both_kinds_of_enter_hooks(deployed):
    answer = ask(deployed, 'answer = modal.Cls.from_name("sample", "Worker")().add.remote(5)')

    assert answer == 47


def test_a_deployed_class_with_memory_snapshots_goes_through_checkpoint_and_restore(deployed):
    ask(deployed, 'answer = modal.Cls.from_name("sample", "Worker")().add.remote(5)')

    assert "ContainerCheckpoint" in deployed.calls


def test_a_failing_input_is_tried_again_as_often_as_the_function_asks(deployed):
    answer = ask(deployed, 'answer = modal.Function.from_name("sample", "falter").remote()')

    assert answer == 3


# A container that has taken a call and not begun it does not hear that it is cancelled (the runtime of modal 1.6.4).
CANCELLED = """
def cancelled(call):
    for _ in range(10):
        call.cancel()
        try:
            call.get(timeout=4)
        except TimeoutError:
            continue
        except modal.exception.RemoteError:
            return True
        return False
"""


def test_a_spawned_call_is_polled_and_cancelled_by_its_id(deployed):
    code = """
call_id = modal.Cls.from_name("sample", "Worker")().wait.spawn().object_id
answer = []
try:
    modal.FunctionCall.from_id(call_id).get(timeout=0)
except TimeoutError:
    answer.append("pending")
answer.append(cancelled(modal.FunctionCall.from_id(call_id)))
"""

    assert ask(deployed, CANCELLED + code) == ["pending", True]


def test_calls_that_run_and_calls_that_wait_can_be_cancelled(deployed):
    code = """
worker = modal.Cls.from_name("sample", "Worker")()
calls = [worker.wait.spawn() for _ in range(3)]
answer = [cancelled(call) for call in reversed(calls)]
"""

    assert ask(deployed, CANCELLED + code) == [True] * 3


def test_a_call_whose_outputs_are_gone_says_so(deployed):
    name = 'modal.Cls.from_name("sample", "Worker")()'
    call_id = ask(deployed, f"call = {name}.add.spawn(1); call.get(); answer = call.object_id")
    deployed.expire(call_id)
    code = f"""
try:
    answer = modal.FunctionCall.from_id({call_id!r}).get(timeout=0)
except modal.exception.OutputExpiredError:
    answer = "expired"
"""

    assert ask(deployed, code) == "expired"


def test_an_input_that_runs_too_long_times_out(deployed):
    code = """
try:
    answer = modal.Function.from_name("sample", "dawdle").remote()
except modal.exception.FunctionTimeoutError as error:
    answer = str(error)
"""

    assert "timeout of 1s" in ask(deployed, code)


def test_large_arguments_and_results_travel_as_blobs(deployed):
    code = 'answer = len(modal.Function.from_name("sample", "write").remote("x" * 3_000_000))'

    assert ask(deployed, code) == 7
    assert (deployed.volume_dir("cache") / "note.txt").exists()
    assert "BlobCreate" in deployed.calls


def test_a_web_function_is_reached_over_http_and_spawns_the_class(deployed):
    url = deployed.web_url("sample", "api")

    started = fetch(f"{url}/jobs/5?color=red", data=b"z" * 3_000_000)
    result = fetch(f"{url}/jobs/{started['id']}/result")

    assert (started["size"], started["color"]) == (3_000_000, "red")
    assert result == {"result": 47}


def test_a_web_function_answers_with_its_own_status(deployed):
    code, body = refusal(deployed.web_url("sample", "api") + "/nowhere")

    assert (code, json.loads(body)) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(("secret", "status"), [("", 401), ("ws-2", 401), ("ws-1", 404)])
def test_a_web_function_with_proxy_auth_wants_key_and_secret(deployed, secret, status):
    headers = {"Modal-Key": "wk-1", "Modal-Secret": secret}

    code, _ = refusal(deployed.web_url("sample", "private"), headers)

    assert code == status


def test_a_slow_web_request_is_sent_to_an_address_that_goes_on_waiting(deployed):
    url = deployed.web_url("sample", "api")
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/slow")
    first = connection.getresponse()
    first.read()

    with urllib.request.urlopen(first.headers["Location"], timeout=30) as second:
        body = second.read()

    assert first.status == 303
    assert "__modal_function_call_id=fc-" in first.headers["Location"]
    assert (second.status, second.headers["X-Kind"], body) == (201, "slow", b"at last")
    connection.close()


def test_stopping_an_app_runs_exit_hooks_and_ends_its_web_function(tmp_path):
    with ModalEmulator(secrets=SECRETS) as platform:
        modal(platform, "deploy", write_project(tmp_path))
        ask(platform, 'answer = modal.Cls.from_name("sample", "Worker")().add.remote(5)')
        stopped = modal(platform, "app", "stop", "--yes", "sample")
        left = (platform.volume_dir("cache") / "left.txt").read_text()
        code, _ = refusal(platform.web_url("sample", "api"))

    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert left == "goodbye"
    assert code == 404
    assert platform.containers == [{"task_id": "ta-1", "function": "Worker.*", "exit_code": 0}]


def test_a_second_deployment_keeps_addresses_and_replaces_containers(tmp_path):
    entry = write_project(tmp_path)
    call = 'answer = modal.Cls.from_name("sample", "Worker")().add.remote(5)'
    with ModalEmulator(secrets=SECRETS) as platform:
        modal(platform, "deploy", entry)
        url = platform.web_url("sample", "api")
        before = ask(platform, call)
        entry.write_text(entry.read_text().replace("self.loaded = 40", "self.loaded = 140"))
        modal(platform, "deploy", entry)
        after = ask(platform, call)

    assert (before, after) == (47, 147)
    assert [record["version"] for record in platform.deployments] == [1, 2]
    assert platform.deployments[1]["functions"][0]["id"] in {
        function["id"] for function in platform.deployments[0]["functions"]
    }
    assert url == platform.web_url("sample", "api")
