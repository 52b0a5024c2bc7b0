"""How a download is divided among containers."""

from collections.abc import Sequence

import pytest

from comfyport.models.lock import Entry
from comfyport.models.spread import spread
from tests.conftest import entry


def sized(*sizes: int | None) -> list[Entry]:
    return [entry(name=f"{place}.safetensors", size=size) for place, size in enumerate(sizes)]


def names(batches: Sequence[Sequence[Entry]]) -> list[str]:
    return ["".join(found.name[0] for found in batch) for batch in batches]


@pytest.mark.parametrize(
    ("sizes", "most", "batches"),
    [
        ([], 4, []),
        ([10, 10], 4, ["01"]),
        ([60, 50], 4, ["0", "1"]),
        ([60, 50, 40, 30], 1, ["0123"]),
        ([60, 50, 40, 30], 2, ["03", "12"]),
        ([500], 4, ["0"]),
        ([None, None], 4, ["01"]),
        ([300, 10, 10, 10], 4, ["0", "1", "2", "3"]),
    ],
    ids=[
        "nothing",
        "little",
        "one more for each hundred",
        "no more than allowed",
        "evenly",
        "a file is not cut",
        "unknown sizes count as nothing",
        "the largest alone",
    ],
)
def test_there_is_a_batch_for_each_hundred_bytes(sizes: list[int | None], most: int, batches: list[str]):
    assert names(spread(sized(*sizes), most=most, bytes_each=100)) == batches


def test_what_has_the_same_content_is_fetched_by_one():
    twins = [
        entry(name=f"{name}.safetensors", size=90, sha256=digest * 64) for name, digest in ("0a", "1b", "2a", "3c")
    ]

    assert names(spread(twins, most=4, bytes_each=100)) == ["02", "1", "3"]
