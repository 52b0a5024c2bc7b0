"""The Python packages of nodes: together, beside the image's, and never another torch."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from comfyport.errors import NodeRequirements
from comfyport.nodes import requirements
from comfyport.nodes.interpreter import Interpreter
from comfyport.nodes.packages import Packages
from comfyport.nodes.requirements import Requirements
from comfyport.nodes.sync import SyncResult
from tests.nodes.conftest import NODE, Syncing, commit, node, wheel


def asking(folder: Path, name: str, lines: str, sync: Syncing, *more: tuple[str, str], **options: str) -> SyncResult:
    """A sync of nodes with these requirements."""
    nodes = [
        node(folder / each, commit(folder / each, {"__init__.py": NODE, "requirements.txt": text}))
        for each, text in ((name, lines), *more)
    ]
    return sync(*nodes, **options)


def names(result: SyncResult) -> list[str]:
    """What lies in the folder of packages, by distribution."""
    assert result.packages
    return sorted(path.name.removesuffix(".dist-info") for path in result.packages.glob("*.dist-info"))


def failure(result: SyncResult, name: str) -> str:
    return next(each.error.message for each in result.nodes if each.node.name == name and each.error)


def test_comfyui_finds_the_packages_and_its_own_stay_as_they_are(
    tmp_path: Path, wheels: Path, sync: Syncing, comfyui_python: Path
):
    wheel(wheels, "extra", "1.0", "torch>=2", "helper")
    wheel(wheels, "helper", "3.0")
    wheel(wheels, "torch", "9.9")

    result = asking(tmp_path, "a", "extra\nnumpy\n", sync)

    told = subprocess.run(
        [comfyui_python, "-c", "import extra, helper, torch; print(extra.version, helper.version, torch.version)"],
        env={"PYTHONPATH": str(result.packages)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.split() == ["1.0", "3.0", "2.11.0+cu130"]
    assert names(result) == ["extra-1.0", "helper-3.0"]


def test_a_node_that_wants_another_torch_fails_by_name_and_the_others_get_theirs(
    tmp_path: Path, wheels: Path, sync: Syncing
):
    wheel(wheels, "extra", "1.0")
    wheel(wheels, "torch", "1.13.0")

    result = asking(tmp_path, "greedy", "torch<2\n", sync, ("modest", "extra\n"))

    assert "torch" in failure(result, "greedy")
    assert [each.state for each in result.nodes] == ["failed", "installed"]
    assert names(result) == ["extra-1.0"]


def test_a_package_that_needs_a_torch_of_another_line_fails_too(tmp_path: Path, wheels: Path, sync: Syncing):
    wheel(wheels, "extra", "1.0", "torch==2.12.0")
    wheel(wheels, "torch", "2.12.0")

    result = asking(tmp_path, "a", "extra\n", sync)

    assert "torch" in failure(result, "a")
    assert result.packages is None


def test_an_older_package_that_goes_with_the_torch_is_chosen(tmp_path: Path, wheels: Path, sync: Syncing):
    wheel(wheels, "extra", "1.0", "torch")
    wheel(wheels, "extra", "2.0", "torch>=9")
    wheel(wheels, "torch", "9.9")

    result = asking(tmp_path, "a", "extra\n", sync)

    assert result.ok
    assert names(result) == ["extra-1.0"]


def test_two_nodes_are_resolved_together(tmp_path: Path, wheels: Path, sync: Syncing):
    for version in ("1.0", "1.5", "2.0"):
        wheel(wheels, "extra", version)

    result = asking(tmp_path, "a", "extra>=1.2\n", sync, ("b", "extra<2\n"))

    assert result.ok
    assert names(result) == ["extra-1.5"]


def test_of_two_that_do_not_fit_the_first_of_the_lock_is_served(tmp_path: Path, wheels: Path, sync: Syncing):
    wheel(wheels, "extra", "1.0")
    wheel(wheels, "extra", "2.0")

    result = asking(tmp_path, "a", "extra<2\n", sync, ("b", "extra>=2\n"), ("c", "extra\n"))

    assert [each.state for each in result.nodes] == ["installed", "failed", "installed"]
    assert "extra" in failure(result, "b")
    assert names(result) == ["extra-1.0"]


def test_what_was_installed_serves_on_when_the_index_is_out_of_reach_and_another_node_fails(
    tmp_path: Path, wheels: Path, sync: Syncing
):
    wheel(wheels, "extra", "1.0")
    first = asking(tmp_path, "a", "extra\n", sync, ("b", "unheard-of\n"))
    shutil.rmtree(wheels)

    again = sync(*(each.node for each in first.nodes))

    assert [each.state for each in again.nodes] == ["ready", "failed"]
    assert again.packages == first.packages


def test_a_node_may_be_called_as_a_file_of_ours(tmp_path: Path, wheels: Path, sync: Syncing):
    wheel(wheels, "extra", "1.0")
    wheel(wheels, "extra", "2.0")

    result = asking(tmp_path, "constraints", "extra\n", sync, ("pinned", "extra\n"), constraints="extra<2\n")

    assert names(result) == ["extra-1.0"]


def test_the_constraints_of_the_image_hold(tmp_path: Path, wheels: Path, sync: Syncing):
    wheel(wheels, "extra", "1.0")
    wheel(wheels, "extra", "2.0")

    result = asking(tmp_path, "a", "extra\n", sync, constraints="extra==1.0\n")

    assert names(result) == ["extra-1.0"]


def test_a_newer_one_than_the_images_is_found_first(tmp_path: Path, wheels: Path, sync: Syncing, comfyui_python: Path):
    wheel(wheels, "numpy", "2.2.0")

    result = asking(tmp_path, "a", "numpy>=2.2\n", sync)

    told = subprocess.run(
        [comfyui_python, "-c", "import numpy; print(numpy.version)"],
        env={"PYTHONPATH": str(result.packages)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "2.2.0"


def test_what_the_image_has_already_needs_no_package(tmp_path: Path, wheels: Path, sync: Syncing):
    result = asking(tmp_path, "a", "numpy\ntorch\n", sync)

    assert result.ok
    assert names(result) == []


def test_a_package_that_is_not_to_be_had_is_named_with_its_node(tmp_path: Path, wheels: Path, sync: Syncing):
    result = asking(tmp_path, "a", "no-such-package\n", sync)

    assert "The Python packages of a could not be installed" in failure(result, "a")
    assert "no-such-package" in failure(result, "a")


def test_a_torch_that_the_system_has_is_held_too(tmp_path: Path):
    python = tmp_path / "python"
    names = [
        "torch-2.6.0.egg-info",
        "cuda_toolkit-13.0.2.dist-info",
        "torchaudio-2.6.0-py3.13.egg-info",
        "a-1.dist-info",
    ]
    for name in names:
        (tmp_path / "site" / name).mkdir(parents=True)
    python.write_text(
        f"#!/bin/sh\nexec {sys.executable} -S -c \"import sys; sys.path[:0] = ['{tmp_path / 'site'}']; $3\"\n"
    )
    python.chmod(0o755)

    pins = Interpreter.ask(python).pins()

    assert pins == ["cuda_toolkit==13.0.2", "torch==2.6.0", "torchaudio==2.6.0"]


def test_the_folder_is_another_for_other_requirements_python_or_constraints(comfyui_python: Path, tmp_path: Path):
    interpreter = Interpreter.ask(comfyui_python)
    asked = {"a": Requirements(("extra", "b")), "c": Requirements(("d",))}
    key = Packages(interpreter, root=tmp_path).key(asked)

    others = {
        Packages(interpreter, root=tmp_path).key({"a": Requirements(("extra",))}),
        Packages(interpreter, constraints="extra<2", root=tmp_path).key(asked),
        Packages(Interpreter(comfyui_python, "cpython-399", interpreter.installed), root=tmp_path).key(asked),
        Packages(Interpreter(comfyui_python, interpreter.tag, ("torch-1.0",)), root=tmp_path).key(asked),
    }
    same = Packages(interpreter, root=tmp_path).key({"z": Requirements(("d", "b", "extra"))})

    assert len(others) == 4
    assert key not in others
    assert key == same


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\n\n# b\nc  # d\n", ("a", "c")),
        ("\ufeffa==1 \\\n  --hash=sha256:00\n", ("a==1",)),
        ("--pre\na[x]>=1; python_version > '3'\n", ("a[x]>=1; python_version > '3'",)),
        ("-r more.txt\n", ("from-more",)),
        ("git+https://host/a@main\nb @ https://host/b.whl\n", ("git+https://host/a@main", "b @ https://host/b.whl")),
    ],
)
def test_reads_a_requirements_file_as_pip_does(tmp_path: Path, text: str, lines: tuple[str, ...]):
    (tmp_path / "requirements.txt").write_text(text)
    (tmp_path / "more.txt").write_text("from-more\n")

    assert requirements.read(tmp_path, "a").lines == lines


@pytest.mark.parametrize(
    "text",
    ["-e .\n", "./wheels/a.whl\n", "/etc/a.whl\n", "file:///a.whl\n", "a @ file:///a.whl\n", "-r ../../etc/passwd\n",
     "-r requirements.txt\n", "--index-url http://host/simple\n", "-i https://user:secret@host/simple\n"],
)  # fmt: skip
def test_refuses_requirements_that_lead_elsewhere(tmp_path: Path, text: str):
    (tmp_path / "requirements.txt").write_text(text)

    with pytest.raises(NodeRequirements) as refused:
        requirements.read(tmp_path, "a")

    assert "secret" not in refused.value.message


def test_an_index_of_a_node_comes_beside_pips_own(tmp_path: Path):
    (tmp_path / "requirements.txt").write_text("--index-url https://host/simple\na\n")

    assert requirements.read(tmp_path, "a") == Requirements(("a",), ("https://host/simple",))


def test_without_a_requirements_file_the_project_says_it(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\ndependencies = ["extra>=1"]\n')

    assert requirements.read(tmp_path, "a").lines == ("extra>=1",)
