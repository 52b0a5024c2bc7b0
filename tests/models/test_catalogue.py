"""docs/models.md: its tables are those of the shipped lock, and its text names every group."""

from pathlib import Path

import pytest

from comfyport.models import catalogue
from comfyport.models.lock import Lock, load
from tests.conftest import entry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_page_has_the_tables_of_the_shipped_lock():
    expected = catalogue.rewritten(PAGE, load(ROOT / "models.lock.json"))

    assert expected == PAGE, "run: python -m comfyport.models.catalogue models.lock.json docs/models.md"


def test_the_page_says_what_each_group_is_for():
    explained = PAGE.partition("| group | what it is for |")[2].partition("\n\n")[0]

    groups = load(ROOT / "models.lock.json").groups
    assert [group for group in groups if f"`{group}`" not in explained and not group.endswith(("-int8", "-bf16"))] == []


def test_what_is_not_known_is_called_so():
    lock = Lock(version=1, models=(entry(groups=["g"]), entry(name="b", size=5_000_000, groups=["g"], license="a | b")))

    text = catalogue.text(lock)

    assert "| `g` | 2 | 5 MB and 1 unknown |" in text
    assert "| `checkpoints/a.safetensors` | unknown | not noted | `g` |" in text
    assert "size, sha256 |" in text
    assert "a \\| b" in text


def test_a_page_without_a_place_for_them_is_refused():
    with pytest.raises(ValueError, match="no line"):
        catalogue.rewritten("# Models\n", Lock(version=1, models=()))


def test_every_file_of_the_shipped_lock_whose_bytes_are_known_comes_from_where_they_were_read():
    shipped = load(ROOT / "models.lock.json")

    digests = [known.sha256 for known in shipped.models if known.sha256]
    assert len(digests) == len(set(digests))
    assert [known.path for known in shipped.choose(())] == [known.path for known in shipped.choose(("sd15",))]
