"""`comfyport models add`: a file of the Hub, of Civitai or of a plain host becomes a pinned entry of the lock."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from comfyport import supply
from comfyport.cli.options import JsonOption, LockOption
from comfyport.cli.tables import show, size
from comfyport.errors import UnusableReference
from comfyport.models import references
from comfyport.models.adding import Addition, Place, add
from comfyport.models.lock import left_open
from comfyport.models.lock_file import LockFile, as_json
from comfyport.models.references import CivitaiReference, Reference
from comfyport.models.sources import called
from comfyport.settings import Settings

app = typer.Typer(help="Pin a model in the lock, without downloading it.", no_args_is_help=True)

DirectoryOption = Annotated[str, typer.Option(help="The folder below models/, such as checkpoints or loras.")]
NameOption = Annotated[str, typer.Option(help="The file's name there, if not its own.")]
GroupOption = Annotated[list[str] | None, typer.Option("--group", help="A group of MODEL_GROUPS; may be repeated.")]
DigestOption = Annotated[str, typer.Option("--sha256", help="Its sha256, where the site tells none.")]
ArchiveOption = Annotated[
    str, typer.Option(metavar="zip|tar", help="It is an archive, whose files are unpacked below models/.")
]
IntoOption = Annotated[str, typer.Option(help="The folder below models/ that an archive's files go to.")]
StripOption = Annotated[int, typer.Option(min=0, help="Folders to drop from the paths in an archive.")]


@app.command("hf")
def add_from_hub(
    repo: Annotated[str, typer.Argument(help="owner/name")],
    file: Annotated[str, typer.Argument(help="The file's path in the repository.")],
    revision: Annotated[str, typer.Option(help="A branch, a tag or a commit; what it is now is pinned.")] = "main",
    directory: DirectoryOption = "",
    name: NameOption = "",
    group: GroupOption = None,
    sha256: DigestOption = "",
    archive: ArchiveOption = "",
    into: IntoOption = "",
    strip: StripOption = 0,
    lock: LockOption = None,
    json_: JsonOption = False,
) -> None:
    """Pin a file of a Hugging Face repository."""
    place = Place.of(directory, name, group, sha256=sha256, archive=archive, into=into, strip=strip)
    _add(references.on_hub(repo, file, revision), place, lock, json_)


@app.command("civitai")
def add_from_civitai(
    version: Annotated[str, typer.Argument(metavar="ID", help="A model version's id, or the address of its page.")],
    file_id: Annotated[int | None, typer.Option(min=1, help="One of its files, if not the primary one.")] = None,
    directory: DirectoryOption = "",
    name: NameOption = "",
    group: GroupOption = None,
    sha256: DigestOption = "",
    archive: ArchiveOption = "",
    into: IntoOption = "",
    strip: StripOption = 0,
    lock: LockOption = None,
    json_: JsonOption = False,
) -> None:
    """Pin a file of a model version on Civitai; its kind tells the folder, where ComfyUI has one for it."""
    place = Place.of(directory, name, group, sha256=sha256, archive=archive, into=into, strip=strip)
    _add(_on_civitai(version, file_id), place, lock, json_)


@app.command("url")
def add_from_address(
    url: Annotated[str, typer.Argument(help="Without a token or a signature.")],
    auth: Annotated[str, typer.Option(metavar="env:NAME", help="The variable that holds a bearer token.")] = "",
    directory: DirectoryOption = "",
    name: NameOption = "",
    group: GroupOption = None,
    sha256: DigestOption = "",
    archive: ArchiveOption = "",
    into: IntoOption = "",
    strip: StripOption = 0,
    lock: LockOption = None,
    json_: JsonOption = False,
) -> None:
    """Pin a file at an address; one of the Hub or of Civitai becomes a source of theirs."""
    place = Place.of(directory, name, group, sha256=sha256, archive=archive, into=into, strip=strip)
    access = supply.access(Settings.load())
    _add(references.elsewhere(url, auth) if auth else references.read(url, access), place, lock, json_)


def _on_civitai(version: str, file_id: int | None) -> CivitaiReference:
    if version.isdecimal() and int(version):
        return CivitaiReference(int(version), file_id=file_id)
    read = references.read(version, supply.access(Settings.load()))
    if not isinstance(read, CivitaiReference):
        raise UnusableReference(references.shown(version), "it is neither the id of a model version nor a page of one")
    return replace(read, file_id=file_id or read.file_id)


def _add(reference: Reference, place: Place, lock: Path | None, as_document: bool) -> None:
    # Here and not above: a start of the container loads this file too, and needs no HTTP library.
    from comfyport.models.resolve import Resolver

    settings = Settings.load()
    file = LockFile.open_or_new(lock or settings.lock)
    found = Resolver(supply.access(settings)).resolve(reference)
    addition = add(file, place.entry(found))
    addition.file.save()
    for remark in _remarks(file, addition, found.remark):
        typer.echo(f"models: {remark}", err=True)
    if as_document:
        listed = {"how": addition.how, "model": as_json(addition.entry), "open": left_open(addition.entry)}
        typer.echo(json.dumps({"ok": True, "lock": str(file.file), **listed, "remark": found.remark}))
        return
    entry = addition.entry
    row = (addition.how, entry.path, size(entry.size), entry.sha256 or "unknown", called(found.source))
    show(("", "model", ("size", "right"), "sha256", "source"), [row])


def _remarks(before: LockFile, addition: Addition, remark: str) -> list[str]:
    """What a person should know besides."""
    remarks = [remark] if remark else []
    if gaps := left_open(addition.entry):
        remarks.append(f"it leaves open: {', '.join(gaps)}; the first download records what it brings")
    if addition.entry.groups and before.lock.models and not before.lock.groups:
        remarks.append("the other entries have no groups: without MODEL_GROUPS none of them is fetched any more")
    return remarks
