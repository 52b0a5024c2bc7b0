"""The lock of the nodes: every name, address and version is checked before anything is done with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from comfyport.errors import InvalidLock
from comfyport.nodes import lock, schema

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789" * 4


def git_node(**fields: Any) -> dict[str, Any]:
    return {"name": "a-node", "source": {"type": "git", "url": "https://host/a", "commit": COMMIT, **fields}}


def registry_node(**fields: Any) -> dict[str, Any]:
    return {"name": "a-node", "source": {"type": "registry", "id": "a", "version": "1.0", **fields}}


def load(folder: Path, *nodes: Any) -> lock.Lock:
    file = folder / "nodes.lock.json"
    file.write_text(json.dumps({"version": 1, "nodes": nodes}))
    return lock.load(file)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/owner/name",
        "https://github.com/owner/name.git",
        "https://host:8443/a",
        "ssh://git@github.com/owner/name.git",
        "http://127.0.0.1:8000/a",
        "file:///srv/git/a.git",
    ],
)
def test_takes_plain_git_addresses(tmp_path: Path, url: str):
    assert load(tmp_path, git_node(url=url)).nodes[0].source.pin == f"git:{COMMIT}"


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/owned",
        "-u./owned",
        "ext::sh -c owned",
        "fd::17",
        "git://host/a",
        "owner/name",
        "../a",
        "/srv/git/a",
        "git@host:owner/name",
        "https://user:secret@host/a",
        "https://token@host/a",
        "https://host",
        "https:///a",
        "https://-oProxyCommand=owned/a",
        "ssh://-oProxyCommand=owned/a",
        "ssh://-oProxyCommand=owned@host/a",
        "https://host/a b",
        "https://host/a\n[core]",
        "https://host\\a",
        "https://host/a?token=secret",
        "file://host/a",
        "file://a",
        "",
    ],
)
def test_refuses_addresses_that_are_more_than_an_address(tmp_path: Path, url: str):
    with pytest.raises(InvalidLock, match=r"nodes\[0\] \(a-node\): source.git.url"):
        load(tmp_path, git_node(url=url))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "a\\b",
        "/a",
        "-a",
        ".a",
        "a.",
        "x.disabled",
        "__pycache__",
        "a b",
        "a\n",
        101 * "a",
    ],
)
def test_refuses_names_that_are_no_folder_below_custom_nodes(tmp_path: Path, name: str):
    with pytest.raises(InvalidLock, match="name"):
        load(tmp_path, {**git_node(), "name": name})


@pytest.mark.parametrize("commit", ["main", "0" * 39, "0" * 41, "A" * 40, "--help", "HEAD", ""])
def test_refuses_what_is_no_commit(tmp_path: Path, commit: str):
    with pytest.raises(InvalidLock, match="commit"):
        load(tmp_path, git_node(commit=commit))


@pytest.mark.parametrize(
    ("field", "value"), [("id", "../a"), ("id", ""), ("version", "1/../2"), ("version", "-1"), ("sha256", "0" * 63)]
)
def test_refuses_what_no_registry_has(tmp_path: Path, field: str, value: str):
    with pytest.raises(InvalidLock, match=field):
        load(tmp_path, registry_node(**{field: value}))


def test_refuses_two_nodes_in_one_folder_also_where_case_does_not_count(tmp_path: Path):
    with pytest.raises(InvalidLock, match="A-Node is listed twice"):
        load(tmp_path, git_node(), {**registry_node(), "name": "A-Node"})


def test_a_problem_names_the_file_and_all_nodes_at_once(tmp_path: Path):
    with pytest.raises(InvalidLock) as refused:
        load(tmp_path, git_node(commit="main"), {**registry_node(version=1), "name": "b"}, 7)

    assert "nodes.lock.json" in refused.value.message
    assert [problem.split(":")[0] for problem in refused.value.details["problems"]] == [
        "nodes[0] (a-node)",
        "nodes[1] (b)",
        "nodes[2]",
    ]


def test_a_lock_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InvalidLock, match="does not exist"):
        lock.load(tmp_path / "none.json")


def test_a_saved_lock_is_read_as_it_was(tmp_path: Path):
    content = {"$schema": "./s.json", "version": 1, "nodes": [git_node(), {**registry_node(), "name": "b"}]}
    file = tmp_path / "nodes.lock.json"
    file.write_text(json.dumps(content))

    lock.save(lock.load(file), file)

    assert json.loads(file.read_text()) == content
    assert [path.name for path in tmp_path.iterdir()] == ["nodes.lock.json"]


def test_the_schema_at_the_top_is_current_and_the_shipped_lock_names_it():
    written = json.loads((ROOT / "nodes.lock.schema.json").read_text(encoding="utf-8"))
    shipped = json.loads((ROOT / "nodes.lock.json").read_text(encoding="utf-8"))

    assert written == schema.document(), "run: python -m comfyport.nodes.schema > nodes.lock.schema.json"
    assert shipped["$schema"] == "./nodes.lock.schema.json"
