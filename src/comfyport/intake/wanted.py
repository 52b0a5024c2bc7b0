"""A model that a file asks for, whatever kind of file that is: what it says, before anything was looked up."""

from dataclasses import dataclass

from comfyport.models import references


@dataclass(frozen=True)
class Wanted:
    """A model to be pinned: `name` and `directory` as ComfyUI calls them, each empty where the file does not tell.

    `addresses` are tried in order. `sha256` (64 lower hex digits) and `size` (bytes) are what the file says of the
    bytes; what a site tells is held against them. `nodes` are the ids of a workflow's nodes that need it.
    """

    name: str
    directory: str = ""
    addresses: tuple[str, ...] = ()
    sha256: str | None = None
    size: int | None = None
    nodes: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """The file's name, or what its address ends in."""
        return (self.name or references.shown(self.addresses[0])).rpartition("/")[2]

    @property
    def shown(self) -> str:
        """What people call it: its path as far as it is known, or its address."""
        if not self.name:
            return references.shown(self.addresses[0])
        return f"{self.directory}/{self.name}" if self.directory else self.name


@dataclass(frozen=True)
class Reading:
    """What a file asks for; `kind` says what the file is, `remarks` what in it is not taken over."""

    kind: str
    wanted: tuple[Wanted, ...]
    remarks: tuple[str, ...] = ()
