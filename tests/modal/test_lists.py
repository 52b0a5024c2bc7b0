"""Lists of models that people have written down."""

from pathlib import Path

import pytest

from comfyport.errors import UsageError
from comfyport.serve.modal_service.housekeeping import lists

NO_NAME = {"directory": "vae", "address": "https://example.com/a", "name": "", "groups": ["flux"]}


@pytest.mark.parametrize(
    "text",
    [
        "# a remark\n\nvae   https://example.com/a\n",
        '[{"directory": "vae", "url": "https://example.com/a"}]',
        '{"models": [{"directory": "vae", "url": "https://example.com/a", "hash": "x"}]}',
    ],
    ids=["lines", "a workflow's models", "an object of them"],
)
def test_a_list_says_where_each_model_is_and_goes(tmp_path: Path, text: str):
    (tmp_path / "list").write_text(text)

    assert lists.read(tmp_path / "list", groups=["flux"]) == [NO_NAME]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vae\n", "line 1"),
        ("vae a b c\n", "line 1"),
        ("[1]", "must be JSON like"),
        ("[{", "must be JSON like"),
        ("# nothing\n", "names no model"),
    ],
)
def test_a_list_that_cannot_be_one_is_told(tmp_path: Path, text: str, told: str):
    (tmp_path / "list").write_text(text)

    with pytest.raises(UsageError, match=told):
        lists.read(tmp_path / "list", groups=[])


def test_a_list_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        lists.read(tmp_path / "absent", groups=[])
