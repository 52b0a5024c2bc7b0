"""What a change costs: only the layers that it concerns are built again."""

from pathlib import Path

import pytest

from bench import layers
from bench.image import copy_context
from tests.container.conftest import BUILD_SECONDS, build

pytestmark = pytest.mark.timeout(BUILD_SECONDS)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """The files that the image is built from, free to be changed."""
    return copy_context(tmp_path)


def test_a_change_in_src_adds_one_small_layer(image: str, context: Path):
    variant = image.rpartition(":")[2]
    # Of several builds of one layer, buildah may go on from an older one: both builds are to start from the same.
    build(f"{image}-before", variant, context=context, cached=True)
    with (context / "src" / "comfyport" / "status.py").open("a") as file:
        file.write("# changed\n")

    build(f"{image}-changed", variant, context=context, cached=True)

    known = {layer.digest for layer in layers.of(f"{image}-before")}
    assert sum(layer.size for layer in layers.of(f"{image}-changed") if layer.digest not in known) < 5_000_000
