"""The command that starts ComfyUI with its nodes: as it is if they are there, else behind a sync."""

from collections.abc import Callable
from pathlib import Path

import pytest

from comfyport.errors import NodeError, NodeFolderTaken
from comfyport.nodes.lock import Node
from comfyport.nodes.places import Place
from comfyport.nodes.startup import SYNC, constraints, with_nodes, with_packages
from tests.nodes.conftest import NODE, Syncing, commit, node, wheel

COMMAND = ("python", "main.py")
Starting = Callable[..., tuple[tuple[str, ...], dict[str, str]]]


@pytest.fixture
def starting(place: Place, image: Place, comfyui_python: Path) -> Starting:
    def start(*nodes: Node, constraints: str = "", may_sync: bool = True) -> tuple[tuple[str, ...], dict[str, str]]:
        options = {"constraints": constraints, "may_sync": may_sync}
        return with_nodes(COMMAND, {"A": "1"}, nodes, volume=place, image=image, python=comfyui_python, **options)

    return start


@pytest.fixture
def installed(tmp_path: Path, wheels: Path, sync: Syncing) -> tuple[Node, str]:
    """A node on the volume, and the folder of its packages."""
    wheel(wheels, "extra", "1.0")
    entry = node(tmp_path / "a", commit(tmp_path / "a", {"__init__.py": NODE, "requirements.txt": "extra\n"}))
    return entry, str(sync(entry).packages)


def test_without_nodes_nothing_changes(starting: Starting):
    assert starting() == (COMMAND, {"A": "1"})


def test_a_node_that_is_missing_is_brought_first(starting: Starting, tmp_path: Path):
    assert starting(node(tmp_path / "none", "0" * 40)) == ((*SYNC, *COMMAND), {"A": "1"})


def test_nodes_that_are_there_need_their_packages_on_the_path_and_no_more(
    starting: Starting, installed: tuple[Node, str]
):
    entry, packages = installed

    assert starting(entry) == (COMMAND, {"A": "1", "PYTHONPATH": packages})


def test_other_constraints_mean_other_packages(starting: Starting, installed: tuple[Node, str]):
    assert starting(installed[0], constraints="extra<1")[0] == (*SYNC, *COMMAND)


def test_without_sync_the_nodes_that_are_there_have_their_packages_all_the_same(
    starting: Starting, installed: tuple[Node, str], tmp_path: Path
):
    entry, packages = installed

    line, environ = starting(entry, node(tmp_path / "none", "0" * 40), may_sync=False)

    assert (line, environ["PYTHONPATH"]) == (COMMAND, packages)


def test_a_path_that_was_set_stays_behind_the_packages():
    assert with_packages({"PYTHONPATH": "/mine"}, Path("/p")) == {"PYTHONPATH": "/p:/mine"}


def test_constraints_that_are_named_and_not_there_are_told(tmp_path: Path):
    assert constraints(None) == ""
    with pytest.raises(NodeError, match="COMFYPORT_CONSTRAINTS"):
        constraints(tmp_path / "none.txt")


def test_a_folder_that_somebody_makes_meanwhile_is_not_replaced(place: Place, tmp_path: Path):
    entry = node(tmp_path / "a", "0" * 40)
    (place.nodes / "a").mkdir(parents=True)
    (tmp_path / "tree").mkdir()

    with pytest.raises(NodeFolderTaken), place.workspace() as workspace:
        place.publish(tmp_path / "tree", entry, workspace)

    assert list((place.nodes / "a").iterdir()) == []
