"""What the documents refer to is there: files, headings, error codes, variables; and the Chinese README keeps step."""

import dataclasses
import re
from pathlib import Path

import pytest

from comfyport import errors
from comfyport.settings import ClientSettings, ModalSettings, Settings
from tests.docs.commands import DOCUMENTS, ROOT, commands

CHINESE = "README.zh-CN.md"
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:)([^)#]*)(?:#([^)]*))?\)")
# Read by other programs: a document may name them.
OTHERS = {"RUNPOD_INIT_TIMEOUT", "IN_PROGRESS"}


def anchors(file: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, CHINESE])
def test_links_lead_to_files_and_headings_that_are_there(document: str):
    file = ROOT / document
    for target, anchor in LINK.findall(file.read_text()):
        leads_to = (file.parent / target).resolve() if target else file
        assert leads_to.exists(), (document, target)
        assert not anchor or anchor in anchors(leads_to), (document, target, anchor)


def test_error_codes_of_the_troubleshooting_are_real():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    known = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    table = text.partition("## A job fails")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) - {"error_code"}

    assert named <= known
    assert len(named) > 4


@pytest.mark.parametrize("document", ["docs/troubleshooting.md", "docs/docker.md", "docs/security.md"])
def test_variables_that_a_document_names_are_declared(document: str):
    kinds = (Settings, ClientSettings, ModalSettings)
    declared = {field.metadata["name"] for kind in kinds for field in dataclasses.fields(kind)}
    named = set(re.findall(r"`(?:-e )?([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?==|`)", (ROOT / document).read_text()))

    assert named - OTHERS <= declared


def test_the_chinese_readme_has_the_commands_of_the_english_one_in_its_order():
    assert [command.text for command in commands(CHINESE)] == [command.text for command in commands("README.md")]


def test_the_chinese_readme_has_a_heading_for_each_of_the_english_one():
    def levels(document: str) -> list[str]:
        prose = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL)
        return re.findall(r"^#+", prose, re.MULTILINE)

    assert levels(CHINESE) == levels("README.md")
