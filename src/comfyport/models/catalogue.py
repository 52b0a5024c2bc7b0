"""The tables of docs/models.md: what the shipped lock holds, by group and by file, with sizes and licences.

`python -m comfyport.models.catalogue models.lock.json` prints them; with `docs/models.md` behind it they are written
into that file, below its marker. A test keeps the two the same.
"""

from collections.abc import Sequence
from pathlib import Path

from comfyport.models.lock import CivitaiSource, Entry, HuggingFaceSource, Lock, Source, UrlSource, left_open, load

MARKER = "<!-- Below: python -m comfyport.models.catalogue models.lock.json docs/models.md -->\n"


def text(lock: Lock) -> str:
    """The tables, in Markdown."""
    return f"{_groups(lock)}\n{_files(lock)}"


def rewritten(page: str, lock: Lock) -> str:
    """A page with the tables of `lock` below its marker. Raises ValueError if it has none."""
    written, marker, _ = page.partition(MARKER)
    if not marker:
        raise ValueError(f"the page has no line {MARKER.strip()}")
    return f"{written}{marker}\n{text(lock)}"


def _groups(lock: Lock) -> str:
    rows = []
    for group in lock.groups:
        entries = lock.choose((group,))
        rows.append(f"| `{group}` | {len(entries)} | {_total(entries)} |")
    return "\n".join(["| group | files | size |", "|---|--:|--:|", *rows, ""])


def _files(lock: Lock) -> str:
    rows = [
        f"| `{entry.path}` | {_size(entry.size)} | {_cell(entry.license or 'not noted')} | {_listed(entry.groups)} "
        f"| {_page(entry)} | {_open(entry)} |"
        for entry in lock.models
    ]
    head = "| file | size | licence | groups | page | left open |"
    return "\n".join([head, "|---|--:|---|---|---|---|", *rows, ""])


def _total(entries: Sequence[Entry]) -> str:
    unknown = sum(entry.size is None for entry in entries)
    known = sum(entry.size or 0 for entry in entries)
    if not unknown:
        return _size(known)
    return f"{_size(known)} and {unknown} unknown" if known else "unknown"


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _listed(groups: Sequence[str]) -> str:
    return " ".join(f"`{group}`" for group in groups)


def _open(entry: Entry) -> str:
    return ", ".join(
        gap.removeprefix("no ").replace("revision 'main' is no commit", "commit") for gap in left_open(entry)
    )


def _cell(written: str) -> str:
    return written.replace("|", "\\|")


def _page(entry: Entry) -> str:
    name, address = _site(entry.sources[0])
    if entry.page:
        name, address = entry.page.partition("://")[2], entry.page
    return f"[{name}]({address})"


def _site(source: Source) -> tuple[str, str]:
    """What a source is called, and where people read about it."""
    match source:
        case HuggingFaceSource(repo=repo):
            return repo, f"https://huggingface.co/{repo}"
        case CivitaiSource(version_id=version):
            return f"civitai {version}", f"https://civitai.com/model-versions/{version}"
        case UrlSource(url=url):
            return url.split("/")[2], url


if __name__ == "__main__":
    import sys

    shipped = load(Path(sys.argv[1]))
    for page in map(Path, sys.argv[2:]):
        page.write_text(rewritten(page.read_text(encoding="utf-8"), shipped), encoding="utf-8")
    if not sys.argv[2:]:
        sys.stdout.write(text(shipped))
