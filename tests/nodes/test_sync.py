"""Bringing nodes to the volume: pinned, whole, each failure by its name, and nothing to do the second time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyport.nodes.lock import Node, RegistrySource
from comfyport.nodes.places import MARKER, Place
from comfyport.nodes.sync import SyncResult, last_failures
from emulators.registry import RegistryEmulator
from tests.nodes.conftest import NODE, Syncing, commit, git, node, wheel


def states(result: SyncResult) -> dict[str, str]:
    return {each.node.name: each.state for each in result.nodes}


def codes(result: SyncResult) -> dict[str, str]:
    return {each.node.name: each.error.code for each in result.nodes if each.error}


def registry_node(name: str = "a", version: str = "1.0", **fields: Any) -> Node:
    return Node(name=name, source=RegistrySource(type="registry", id=name, version=version, **fields))


def test_a_repository_comes_at_the_commit_that_is_pinned_and_not_a_later_one(
    tmp_path: Path, sync: Syncing, place: Place
):
    pinned = commit(tmp_path / "a", {"__init__.py": "# old\n"})
    commit(tmp_path / "a", {"__init__.py": "# new\n"})

    result = sync(node(tmp_path / "a", pinned))

    assert states(result) == {"a": "installed"}
    assert (place.nodes / "a" / "__init__.py").read_text() == "# old\n"
    assert place.pin("a") == f"git:{pinned}"


def test_a_second_sync_asks_nobody(tmp_path: Path, sync: Syncing, place: Place, wheels: Path):
    wheel(wheels, "extra", "1.0")
    pinned = commit(tmp_path / "a", {"__init__.py": NODE, "requirements.txt": "extra\n"})
    first = sync(node(tmp_path / "a", pinned))
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(wheels)

    second = sync(node(tmp_path / "a", pinned))

    assert (states(first), states(second)) == ({"a": "installed"}, {"a": "ready"})
    assert second.packages == first.packages


def test_another_pin_replaces_what_we_had_put_there(tmp_path: Path, sync: Syncing, place: Place):
    old = commit(tmp_path / "a", {"__init__.py": "# old\n", "gone.py": ""})
    sync(node(tmp_path / "a", old))
    git("rm", "--quiet", "gone.py", cwd=tmp_path / "a")
    new = commit(tmp_path / "a", {"__init__.py": "# new\n"})

    result = sync(node(tmp_path / "a", new))

    assert states(result) == {"a": "installed"}
    assert (place.nodes / "a" / "__init__.py").read_text() == "# new\n"
    assert not (place.nodes / "a" / "gone.py").exists()
    assert list(place.work.iterdir()) == []


def test_a_checkout_that_was_moved_to_another_commit_is_brought_back(tmp_path: Path, sync: Syncing, place: Place):
    old = commit(tmp_path / "a", {"__init__.py": "# old\n"})
    new = commit(tmp_path / "a", {"__init__.py": "# new\n"})
    sync(node(tmp_path / "a", old))
    git("fetch", "--quiet", f"file://{tmp_path / 'a'}", "main", cwd=place.nodes / "a")
    git("checkout", "--quiet", new, cwd=place.nodes / "a")

    result = sync(node(tmp_path / "a", old))

    assert states(result) == {"a": "installed"}
    assert (place.nodes / "a" / "__init__.py").read_text() == "# old\n"


def test_submodules_come_along(tmp_path: Path, sync: Syncing, place: Place):
    commit(tmp_path / "part", {"part.py": "# part\n"})
    commit(tmp_path / "a", {"__init__.py": NODE})
    url = f"file://{tmp_path / 'part'}"
    git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "part", cwd=tmp_path / "a")
    pinned = commit(tmp_path / "a", {"__init__.py": "# with a part\n"})

    sync(node(tmp_path / "a", pinned))

    assert (place.nodes / "a" / "part" / "part.py").read_text() == "# part\n"


def test_a_commit_that_no_branch_holds_any_more_is_named_and_leaves_nothing(
    tmp_path: Path, sync: Syncing, place: Place
):
    commit(tmp_path / "a", {"__init__.py": NODE})

    result = sync(node(tmp_path / "a", "f" * 40))

    assert codes(result) == {"a": "node_fetch_failed"}
    assert not place.holds("a")
    assert list(place.work.iterdir()) == []


def test_a_link_in_the_place_of_our_note_is_not_followed(tmp_path: Path, sync: Syncing, place: Place):
    (tmp_path / "mine.json").write_text("mine")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / MARKER).symlink_to(tmp_path / "mine.json")
    pinned = commit(tmp_path / "a", {"__init__.py": NODE})

    result = sync(node(tmp_path / "a", pinned))

    assert states(result) == {"a": "installed"}
    assert (tmp_path / "mine.json").read_text() == "mine"


def test_one_bad_node_stops_no_other(tmp_path: Path, sync: Syncing, place: Place):
    pinned = commit(tmp_path / "good", {"__init__.py": NODE})

    result = sync(node(tmp_path / "none", "0" * 40), node(tmp_path / "good", pinned))

    assert states(result) == {"none": "failed", "good": "installed"}
    assert set(last_failures(place)) == {"none"}
    assert "does not appear to be a git repository" in last_failures(place)["none"]["message"]


def test_a_protocol_that_is_not_allowed_is_not_spoken(tmp_path: Path, sync: Syncing):
    source = {"type": "git", "url": "ssh://git@127.0.0.1/a", "commit": "0" * 40}

    result = sync(Node.model_validate({"name": "a", "source": source}))

    assert "ssh:// is not among the protocols allowed (file, http)" in result.as_json()["nodes"][0]["error"]["message"]


def test_a_folder_of_ones_own_stays_as_it_is(tmp_path: Path, sync: Syncing, place: Place):
    pinned = commit(tmp_path / "a", {"__init__.py": NODE})
    (place.nodes / "a").mkdir(parents=True)
    (place.nodes / "a" / "mine.py").write_text("# mine\n")

    result = sync(node(tmp_path / "a", pinned))

    assert codes(result) == {"a": "node_folder_taken"}
    assert [path.name for path in (place.nodes / "a").iterdir()] == ["mine.py"]


def test_a_link_to_a_node_of_ours_is_ones_own(tmp_path: Path, sync: Syncing, place: Place):
    pinned = commit(tmp_path / "a", {"__init__.py": NODE})
    sync(node(tmp_path / "a", pinned))
    (place.nodes / "b").symlink_to("a")

    result = sync(node(tmp_path / "a", pinned, name="b"))

    assert codes(result) == {"b": "node_folder_taken"}
    assert place.remove("b") is False


def test_what_is_baked_is_not_fetched(tmp_path: Path, sync: Syncing, place: Place, image: Place):
    baked = node(tmp_path / "a", "1" * 40)
    (image.nodes / "a").mkdir(parents=True)
    (image.nodes / "a" / MARKER).write_text(json.dumps({"pin": baked.source.pin}))

    result = sync(baked)

    assert states(result) == {"a": "baked"}
    assert not place.holds("a")


def test_another_pin_than_the_baked_one_is_refused_rather_than_loaded_twice(
    tmp_path: Path, sync: Syncing, image: Place
):
    (image.nodes / "a").mkdir(parents=True)
    (image.nodes / "a" / MARKER).write_text(json.dumps({"pin": f"git:{'1' * 40}"}))

    result = sync(node(tmp_path / "a", "2" * 40))

    assert codes(result) == {"a": "node_folder_taken"}
    assert "build the image anew" in result.as_json()["nodes"][0]["error"]["message"]


def test_what_a_killed_sync_left_is_not_taken_for_a_node(tmp_path: Path, sync: Syncing, place: Place):
    pinned = commit(tmp_path / "a", {"__init__.py": NODE})
    half = place.work / "0" / "a" / "tree"
    half.mkdir(parents=True)
    (half / "__init__.py").write_text("# ha")

    result = sync(node(tmp_path / "a", pinned))

    assert states(result) == {"a": "installed"}
    assert (place.nodes / "a" / "__init__.py").read_text() == NODE


def test_two_containers_that_start_together_both_end_with_the_node(tmp_path: Path, place: Place):
    pinned = commit(tmp_path / "a", {"__init__.py": NODE})
    (tmp_path / "nodes.lock.json").write_text(
        json.dumps({"version": 1, "nodes": [node(tmp_path / "a", pinned).model_dump()]})
    )
    (tmp_path / "ComfyUI").mkdir()
    (tmp_path / "ComfyUI" / "main.py").touch()
    environ = {
        "PATH": "/usr/bin:/bin",
        "COMFYPORT_NODES_LOCK": str(tmp_path / "nodes.lock.json"),
        "COMFYPORT_VOLUME": str(tmp_path / "volume"),
        "COMFYPORT_NODES_PROTOCOLS": "file",
        "COMFYUI_DIR": str(tmp_path / "ComfyUI"),
    }
    command = [sys.executable, "-m", "comfyport", "nodes", "sync", "--json"]
    programs = [
        subprocess.Popen(command, env={**environ, "COMFYPORT_RUN_DIR": str(tmp_path / run)}, stdout=subprocess.PIPE)
        for run in ("1", "2", "3")
    ]
    answers = [json.loads(program.communicate(timeout=60)[0]) for program in programs]

    assert [answer["ok"] for answer in answers] == [True, True, True]
    assert (place.nodes / "a" / "__init__.py").read_text() == NODE
    assert list(place.work.iterdir()) == []


def test_a_version_of_the_registry_comes_and_is_held_to_its_sha256(sync: Syncing, place: Place):
    with RegistryEmulator({("a", "1.0"): {"__init__.py": b"# 1.0\n", "web/a.js": b""}}) as registry:
        result = sync(registry_node(), registry=registry.url)
        other = sync(registry_node(version="1.0", sha256="0" * 64), registry=registry.url)

    assert states(result) == {"a": "installed"}
    assert (place.nodes / "a" / "__init__.py").read_bytes() == b"# 1.0\n"
    assert (place.nodes / "a" / "web" / "a.js").exists()
    assert codes(other) == {"a": "node_fetch_failed"}
    assert place.pin("a") == "registry:a@1.0"


@pytest.mark.parametrize("fault", ["429", "500", "cut"])
def test_what_passes_at_the_registry_is_tried_again(fault: str, sync: Syncing):
    with RegistryEmulator({("a", "1.0"): {"__init__.py": b""}}, faults=[fault, fault]) as registry:
        result = sync(registry_node(), registry=registry.url)

    assert states(result) == {"a": "installed"}


@pytest.mark.parametrize("fault", ["withdrawn", "other_version", "plain_file"])
def test_what_stays_wrong_at_the_registry_is_named(fault: str, sync: Syncing, place: Place):
    with RegistryEmulator({("a", "1.0"): {"__init__.py": b""}}, faults=[fault]) as registry:
        result = sync(registry_node(), registry=registry.url)

    assert codes(result) == {"a": "node_fetch_failed"}
    assert not place.holds("a")


@pytest.mark.parametrize("path", ["../evil.py", "/evil.py", "a/../../evil.py", "..\\evil.py", "C:/evil.py"])
def test_an_archive_that_would_leave_its_folder_is_refused(path: str, sync: Syncing, place: Place):
    with RegistryEmulator({("a", "1.0"): {"__init__.py": b"", path: b""}}) as registry:
        result = sync(registry_node(), registry=registry.url)

    assert codes(result) == {"a": "node_fetch_failed"}
    assert "would leave the node's folder" in result.as_json()["nodes"][0]["error"]["message"]
    assert not list(place.nodes.parent.rglob("evil.py"))


def test_a_node_that_the_registry_does_not_have_is_named(sync: Syncing):
    with RegistryEmulator({}) as registry:
        result = sync(registry_node(), registry=registry.url)

    assert "has no a@1.0" in result.as_json()["nodes"][0]["error"]["message"]
