"""What is in the image and what is not."""

import importlib.util
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import containers, layers
from tests.conftest import ROOT
from tests.container.conftest import BUILD_SECONDS, Service

pytestmark = pytest.mark.timeout(BUILD_SECONDS)

LARGE = 50_000_000
# Every file over 50 MB that may be in an image, without its version; all are libraries that torch loads.
TORCH = {"libtorch_cpu", "libtorch_cuda", "libtorch_cuda_linalg"}
CUDA = {
    "libcublas",
    "libcublasLt",
    "libcudnn_adv",
    "libcudnn_engines_precompiled",
    "libcudnn_heuristic",
    "libcufft",
    "libcurand",
    "libcusolver",
    "libcusolverMg",
    "libcusparse",
    "libcusparseLt",
    "libnccl",
    "libnvJitLink",
    "libnvrtc",
    "libnvrtc.alt",
}
# What Debian's torch is linked with, through Open MPI, and never calls on a CPU.
DEBIAN = {"libLLVM-17", "libamd_comgr"}
KNOWN_LARGE_FILES = {"emulated": set[str](), "cpu": {"libtorch_cpu", *DEBIAN}, "gpu": TORCH | CUDA}
WEIGHTS = {".safetensors", ".ckpt", ".gguf", ".pt", ".pt2", ".pth", ".sft"}


@pytest.fixture(scope="module")
def files(image: str) -> Iterator[Path]:
    """The folder that the image's files are mounted at."""
    with containers.mounted(image) as folder:
        yield folder


def regular(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_every_large_file_is_known_by_name(image: str, files: Path):
    large = {path.name.partition(".so")[0] for path in regular(files) if path.stat().st_size > LARGE}

    assert large == KNOWN_LARGE_FILES[image.rpartition(":")[2]]


def test_there_are_no_weights(files: Path):
    # A few hundred bytes are a package's own tables, not a model.
    assert [path for path in regular(files) if path.suffix in WEIGHTS and path.stat().st_size > 1_000_000] == []


def test_the_files_of_the_status_page_are_there(files: Path):
    page = "comfyport/serve/page"
    (installed,) = files.glob(f"opt/venv/lib/python3*/site-packages/{page}")

    assert {path.name for path in installed.iterdir()} == {path.name for path in (ROOT / "src" / page).iterdir()}


def test_all_of_python_is_compiled_and_its_bytecode_is_current(files: Path):
    folders = [*files.glob("opt/venv/lib/python3*/site-packages"), files / "opt" / "ComfyUI"]
    sources = [path for folder in folders for path in folder.rglob("*.py") if not path.is_symlink()]

    stale = [path for path in sources if not current(path) and not broken(path)]

    assert len(sources) > 1000
    assert stale == []


def current(source: Path) -> bool:
    """Whether there is bytecode for this source, of its time and size (PEP 552)."""
    (bytecode,) = list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*[0-9].pyc")) or [None]
    if bytecode is None:
        return False
    flags, seconds, size = struct.unpack("<4x3I", bytecode.read_bytes()[:16])
    stat = source.stat()
    return flags == 0 and seconds == int(stat.st_mtime) and size == stat.st_size


def broken(source: Path) -> bool:
    """Whether nobody can compile it: packages ship templates and tests that are no Python."""
    try:
        compile(importlib.util.decode_source(source.read_bytes()), str(source), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, UnicodeDecodeError):
        return True
    return False


@pytest.mark.parametrize(
    "pattern",
    ["root/.cache", "var/lib/apt/lists/*_Packages*", "var/cache/apt/archives/*.deb", "opt/ComfyUI/.git", "opt/tools"],
)
def test_nothing_of_the_build_is_left(files: Path, pattern: str):
    assert list(files.glob(pattern)) == []


def test_nothing_of_the_host_that_built_it_is_left(image: str, files: Path):
    left = files / containers.CERTIFICATES.lstrip("/")
    environ = containers.output("podman", "image", "inspect", "--format={{.Config.Env}}", image)

    assert not left.exists() or left.stat().st_size == 0
    assert not {"SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"} & set(
        environ.replace("=", " ").split()
    )


def test_every_part_has_its_layer_from_what_changes_least_to_what_changes_most(image: str):
    assert list(layers.by_part(layers.of(image))) == [
        "Debian",
        "Python, git, libgl1, tini",
        "uv",
        "comfyport, locks and scripts",
        "torch and its libraries",
        "the worker's packages",
        "ComfyUI",
        "ComfyUI's packages",
    ]


@pytest.mark.parametrize("installer", ["pip install --no-index", "uv pip install --offline"])
def test_no_installer_replaces_torch(start: Callable[..., Service], image: str, installer: str):
    if image.endswith(":emulated"):
        pytest.skip("this image has no torch")

    container = start("sh", "-c", f"{installer} --dry-run 'torch>=99'")

    assert container.end(within=BUILD_SECONDS) == 1
    assert "torch==2." in container.output
