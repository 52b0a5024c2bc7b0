"""The rules for a git address and a git ref that come from outside: plain, without a secret, never an option."""

import re
from urllib.parse import urlsplit

from comfyport.errors import NodeError

_SCP_FORM = re.compile(r"(?P<user>[A-Za-z0-9._-]+)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/].*)")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")


def git_url(text: str) -> str:
    """`text`, if it is a git address: https://, ssh://, http:// or file://. Raises ValueError.

    Other forms are refused, because git reads some of them as commands: `ext::`, a helper's name, or an option.
    """
    if any(character <= " " or character in "\\\x7f" for character in text):
        raise ValueError("must not contain a space, a backslash or a control character")
    parts = urlsplit(text)
    if parts.scheme not in ("https", "ssh", "http", "file") or not text.startswith(f"{parts.scheme}://"):
        raise ValueError("must start with https:// or ssh://")
    if parts.query or parts.fragment:
        raise ValueError("must not contain a question mark or a #")
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise ValueError("must not contain a user name or password; leave that to git's credential helper")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("must be an absolute path after file://")
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", parts.hostname or ""):
        raise ValueError("must name a host")
    if (parts.username or "").startswith("-") or not parts.path.strip("/"):
        raise ValueError("must name a repository")
    return text


def from_person(text: str) -> str:
    """The address that a person typed, in the lock's form: `git@host:owner/name` is ssh. Raises ValueError."""
    short = _SCP_FORM.fullmatch(text)
    return git_url(f"ssh://{short['user']}@{short['host']}/{short['path']}" if short else text)


def require_allowed(url: str, protocols: tuple[str, ...]) -> None:
    """Refuses a git address of a protocol that is not among `protocols`. Raises NodeError."""
    scheme = url.partition("://")[0]
    if scheme not in protocols:
        raise NodeError(
            f"{url} is not fetched: {scheme}:// is not among the protocols allowed ({', '.join(protocols)}). "
            "Set COMFYPORT_NODES_PROTOCOLS to allow it.",
            url=url,
        )


def ref(text: str) -> str:
    """`text`, if it can be a branch, a tag or a commit, and nothing else. Raises ValueError."""
    if not _REF.fullmatch(text) or ".." in text or "//" in text or text.endswith((".lock", ".", "/")):
        raise ValueError(f"{text!r} is no name of a branch, a tag or a commit")
    return text


def folder_name(url: str) -> str:
    """The folder that git itself would clone `url` into."""
    return urlsplit(url).path.rstrip("/").rpartition("/")[2].removesuffix(".git")
