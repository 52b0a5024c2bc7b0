"""What the tests of custom nodes share: git repositories, wheels, and a Python that has a torch."""

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tenacity import wait_none

from comfyport.nodes.checkout import Git
from comfyport.nodes.interpreter import Interpreter
from comfyport.nodes.lock import GitSource, Node
from comfyport.nodes.packages import Packages
from comfyport.nodes.places import Place
from comfyport.nodes.registry import Registry
from comfyport.nodes.sync import Sync, SyncResult

NODE = "NODE_CLASS_MAPPINGS = {}\n"


def git(*arguments: str, cwd: Path) -> str:
    """git's output, with an author and without the machine's own settings."""
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", **who}
    done = subprocess.run(["git", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(repository: Path, files: Mapping[str, str]) -> str:
    """Commits `files` to the repository, made if it is not there; the commit."""
    repository.mkdir(parents=True, exist_ok=True)
    if not (repository / ".git").exists():
        git("init", "--quiet", "--initial-branch=main", cwd=repository)
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message=a", cwd=repository)
    return git("rev-parse", "HEAD", cwd=repository)


def node(repository: Path, pinned: str, *, name: str | None = None) -> Node:
    """An entry for a repository on this disk."""
    source = GitSource(type="git", url=f"file://{repository}", commit=pinned)
    return Node(name=name or repository.name, source=source)


def wheel(folder: Path, name: str, version: str, *requires: str, files: Mapping[str, str] | None = None) -> Path:
    """A wheel of a pure Python package; its module says its version unless `files` are given."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    content = {
        **(files or {f"{name}.py": f"version = {version!r}\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in content.items())
    with zipfile.ZipFile(file, "w") as opened:
        for path, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            opened.writestr(path, text)
    return file


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place that pip finds packages in; a network it has not."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in pip_environ(folder).items():
        monkeypatch.setenv(name, value)
    return folder


def pip_environ(folder: Path) -> dict[str, str]:
    """What keeps pip to the wheels in `folder`, and from the machine's own settings."""
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


@pytest.fixture(scope="session")
def comfyui_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own with torch 2.11.0+cu130 and numpy 2.1.0, or what is called so; it has no pip."""
    folder = tmp_path_factory.mktemp("comfyui")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    files = [wheel(folder, "torch", "2.11.0+cu130"), wheel(folder, "numpy", "2.1.0")]
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", *files], check=True)
    return python


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.on_volume(tmp_path / "volume")


@pytest.fixture
def image(tmp_path: Path) -> Place:
    return Place.in_image(tmp_path / "ComfyUI")


Syncing = Callable[..., SyncResult]


@pytest.fixture
def sync(place: Place, image: Place, comfyui_python: Path) -> Syncing:
    """Syncs nodes to the volume; `constraints`, and the `registry`'s address if one is asked."""

    def run(*nodes: Node, constraints: str = "", registry: str = "http://127.0.0.1:9") -> SyncResult:
        packages = Packages(
            Interpreter.ask(comfyui_python), constraints=constraints, root=place.work.parent / "packages"
        )
        git_program = Git(("file", "http"), wait=wait_none())
        return Sync(nodes, place, image, packages, git_program, Registry(registry, wait=wait_none())).run()

    return run
