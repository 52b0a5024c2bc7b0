"""`comfyport nodes`, as a person or a Dockerfile runs it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators.registry import RegistryEmulator, archive
from tests.conftest import Container
from tests.nodes.conftest import NODE, commit, git, pip_environ, wheel

Run = Callable[..., "Answer"]
OPTIONS = {"COMFYPORT_NODES_PROTOCOLS": "file,http,https"}


class Answer:
    """How a command ended: status, everything that it printed, and the JSON among that."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output

    @property
    def json(self) -> Any:
        return json.loads(next(line for line in self.output.splitlines() if line.startswith("{")))


@pytest.fixture
def run(start: Callable[..., Container], tmp_path: Path) -> Run:
    """`comfyport nodes …` with a lock in tmp_path and a ComfyUI beside it."""
    (tmp_path / "ComfyUI").mkdir()
    (tmp_path / "ComfyUI" / "main.py").touch()

    def run_command(*arguments: str, **environ: str) -> Answer:
        lock = {"COMFYPORT_NODES_LOCK": str(tmp_path / "nodes.lock.json")}
        places = {"COMFYUI_DIR": str(tmp_path / "ComfyUI"), **lock, **OPTIONS}
        container = start("comfyport", "nodes", *arguments, **places, **environ)
        return Answer(container.end(within=60), container.output)

    return run_command


def lock_of(folder: Path) -> dict[str, Any]:
    return {node["name"]: node["source"] for node in json.loads((folder / "nodes.lock.json").read_text())["nodes"]}


def test_add_sync_list_and_remove_tell_one_story(tmp_path: Path, run: Run):
    pinned = commit(tmp_path / "a-node", {"__init__.py": NODE})
    before = run("add", f"file://{tmp_path / 'a-node'}")
    missing = run("list", "--json")
    synced = run("sync", "--json")
    installed = run("list", "--json")
    removed = run("remove", "a-node")
    empty = run("list", "--json")

    assert before.status == 0, before.output
    assert missing.json["nodes"] == [{"name": "a-node", "pin": f"git:{pinned}", "state": "missing", "reason": ""}]
    assert [(node["name"], node["state"]) for node in synced.json["nodes"]] == [("a-node", "installed")]
    assert installed.json["nodes"][0]["state"] == "installed"
    assert removed.status == 0
    assert empty.json["nodes"] == []
    assert not (tmp_path / "volume" / "custom_nodes" / "a-node").exists()


def test_add_pins_what_a_branch_a_tag_or_a_commit_is_now(tmp_path: Path, run: Run):
    repository = tmp_path / "a"
    first = commit(repository, {"__init__.py": "# 1\n"})
    git("tag", "--annotate", "--message=v1", "v1", cwd=repository)
    git("branch", "other", cwd=repository)
    second = commit(repository, {"__init__.py": "# 2\n"})
    url = f"file://{repository}"

    pins = {}
    for ref in ("v1", "other", "main", first):
        run("add", url, "--ref", ref)
        pins[ref] = lock_of(tmp_path)["a"]["commit"]

    assert pins == {"v1": first, "other": first, "main": second, first: first}


@pytest.mark.parametrize(
    "what",
    [
        "--upload-pack=touch owned",
        "ext::sh -c owned",
        "https://user:secret@127.0.0.1/a",
        "https://127.0.0.1/a b",
        "../a",
    ],
)
def test_add_refuses_what_is_more_than_an_address(what: str, tmp_path: Path, run: Run):
    answer = run("add", "--", what)

    assert answer.status == 2
    assert "secret" not in answer.output
    assert not (tmp_path / "nodes.lock.json").exists()
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("ref", ["--upload-pack=touch owned", "none", "a..b", "-x"])
def test_add_refuses_what_is_no_ref(ref: str, tmp_path: Path, run: Run):
    commit(tmp_path / "a", {"__init__.py": NODE})

    answer = run("add", f"file://{tmp_path / 'a'}", f"--ref={ref}")

    assert answer.status == 2
    assert not (tmp_path / "nodes.lock.json").exists()


def test_add_notes_version_and_sha256_of_the_registry(tmp_path: Path, run: Run):
    versions = {("kj", "1.0"): {"a.py": b"1"}, ("kj", "1.1"): {"a.py": b"2"}}
    with RegistryEmulator(versions) as registry:
        newest = run("add", "kj", COMFY_REGISTRY_ENDPOINT=registry.url)
        noted = lock_of(tmp_path)["kj"]
        older = run("add", "kj@1.0", "--name", "other", COMFY_REGISTRY_ENDPOINT=registry.url)
        none = run("add", "kj@9", COMFY_REGISTRY_ENDPOINT=registry.url)

    assert (newest.status, older.status, none.status) == (0, 0, 2), newest.output
    assert noted["version"] == "1.1"
    assert noted["sha256"] == hashlib.sha256(archive({"a.py": b"2"})).hexdigest()
    assert lock_of(tmp_path)["other"]["version"] == "1.0"
    assert "has no kj@9" in none.output


def test_a_snapshot_of_the_manager_is_taken_over(tmp_path: Path, run: Run):
    old = commit(tmp_path / "a", {"__init__.py": "# 1\n"})
    commit(tmp_path / "a", {"__init__.py": "# 2\n"})
    snapshot = tmp_path / "snapshot.json"
    content = {
        "comfyui": "c" * 40,
        "git_custom_nodes": {
            f"file://{tmp_path / 'a'}": {"hash": old, "disabled": False},
            "https://127.0.0.1:9/off.git": {"hash": "0" * 40, "disabled": True},
        },
        "cnr_custom_nodes": {"kj": "1.0"},
        "file_custom_nodes": [{"filename": "single.py", "disabled": False}],
        "pips": {"torch": "1.0"},
    }
    snapshot.write_text(json.dumps(content))

    with RegistryEmulator({("kj", "1.0"): {"a.py": b""}}) as registry:
        answer = run("add", "--snapshot", str(snapshot), COMFY_REGISTRY_ENDPOINT=registry.url)

    assert answer.status == 0, answer.output
    assert lock_of(tmp_path)["a"]["commit"] == old
    assert lock_of(tmp_path)["kj"]["version"] == "1.0"
    assert "off.git is switched off" in answer.output
    assert "single.py is a single file" in answer.output
    assert "c" * 40 in answer.output


def test_two_nodes_for_one_folder_are_not_chosen_between(tmp_path: Path, run: Run):
    for folder in ("one", "two"):
        commit(tmp_path / folder / "a", {"__init__.py": NODE})

    answer = run("add", f"file://{tmp_path / 'one' / 'a'}", f"file://{tmp_path / 'two' / 'a'}")

    assert answer.status == 2
    assert "in the folder a" in answer.output
    assert not (tmp_path / "nodes.lock.json").exists()


def test_what_is_no_snapshot_is_named(tmp_path: Path, run: Run):
    (tmp_path / "other.json").write_text('{"nodes": []}')

    answer = run("add", "--snapshot", str(tmp_path / "other.json"))

    assert answer.status == 2
    assert "neither git_custom_nodes nor cnr_custom_nodes" in answer.output


def test_a_failure_stands_in_the_list_until_it_is_mended(tmp_path: Path, run: Run):
    commit(tmp_path / "a", {"__init__.py": NODE})
    run("add", f"file://{tmp_path / 'a'}")
    (tmp_path / "a").rename(tmp_path / "away")
    failed, listed = run("sync"), run("list", "--json")
    (tmp_path / "away").rename(tmp_path / "a")
    mended, after = run("sync"), run("list", "--json")

    assert (failed.status, mended.status) == (1, 0)
    assert listed.json["nodes"][0]["state"] == "failed"
    assert "could not be fetched" in listed.json["nodes"][0]["reason"]
    assert after.json["nodes"][0] == {**listed.json["nodes"][0], "state": "installed", "reason": ""}


def test_prune_removes_what_we_put_there_and_the_lock_no_longer_names(tmp_path: Path, run: Run):
    commit(tmp_path / "a", {"__init__.py": NODE})
    run("add", f"file://{tmp_path / 'a'}")
    run("sync")
    mine = tmp_path / "volume" / "custom_nodes" / "mine"
    mine.mkdir()
    (tmp_path / "nodes.lock.json").write_text('{"version": 1, "nodes": []}')

    listed, pruned = run("list", "--json"), run("sync", "--prune", "--json")

    assert [(node["name"], node["state"]) for node in listed.json["nodes"]] == [("a", "orphaned")]
    assert pruned.json["removed"] == ["a"]
    assert [path.name for path in mine.parent.iterdir()] == ["mine"]


def test_remove_keeps_a_folder_of_ones_own(tmp_path: Path, run: Run):
    commit(tmp_path / "a", {"__init__.py": NODE})
    run("add", f"file://{tmp_path / 'a'}")
    mine = tmp_path / "volume" / "custom_nodes" / "a" / "mine.py"
    mine.parent.mkdir(parents=True)
    mine.touch()

    removed, unknown = run("remove", "a"), run("remove", "a")

    assert "your own and stays" in removed.output
    assert mine.exists()
    assert lock_of(tmp_path) == {}
    assert unknown.status == 2


def test_bake_installs_into_comfyui_itself_and_a_start_has_nothing_left_to_do(
    tmp_path: Path, run: Run, wheels: Path, start: Callable[..., Container]
):
    wheel(wheels, "extra", "1.0")
    commit(tmp_path / "a", {"__init__.py": NODE, "requirements.txt": "extra\n"})
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    options = {"COMFYUI_PYTHON": str(python), **pip_environ(wheels)}
    run("add", f"file://{tmp_path / 'a'}")

    baked = run("bake", "--json", **options)
    synced = run("sync", "--json", **options)

    assert baked.status == 0, baked.output
    assert (tmp_path / "ComfyUI" / "custom_nodes" / "a" / "__init__.py").read_text() == NODE
    assert subprocess.run([python, "-c", "import extra"], check=False).returncode == 0
    assert synced.json["nodes"][0]["state"] == "baked"
    assert not (tmp_path / "volume" / "custom_nodes" / "a").exists()
    assert sorted(path.name for path in (tmp_path / "ComfyUI").iterdir()) == ["custom_nodes", "main.py"]


def test_bake_fails_the_build_when_a_node_fails(tmp_path: Path, run: Run):
    commit(tmp_path / "a", {"__init__.py": NODE, "requirements.txt": "-e .\n"})
    run("add", f"file://{tmp_path / 'a'}")

    answer = run("bake")

    assert answer.status == 1
    assert "packages of a could not be installed" in answer.output


def test_sync_becomes_the_command_whatever_has_failed(tmp_path: Path, run: Run, wheels: Path):
    wheel(wheels, "extra", "1.0")
    commit(tmp_path / "a", {"__init__.py": NODE, "requirements.txt": "extra\n"})
    run("add", f"file://{tmp_path / 'a'}")
    lock = json.loads((tmp_path / "nodes.lock.json").read_text())
    gone = {"type": "git", "url": f"file://{tmp_path / 'none'}", "commit": "0" * 40}
    lock["nodes"].append({"name": "none", "source": gone})
    (tmp_path / "nodes.lock.json").write_text(json.dumps(lock))
    program = "import extra; print('extra', extra.version)"

    answer = run("sync", "--", sys.executable, "-c", program, **pip_environ(wheels))
    (tmp_path / "nodes.lock.json").write_text("{}")
    broken = run("sync", "--", sys.executable, "-c", "print('started')")

    assert answer.status == 0, answer.output
    assert "none could not be fetched" in answer.output
    assert "extra 1.0" in answer.output
    assert (broken.status, "started" in broken.output, "not a valid lock" in broken.output) == (0, True, True)
