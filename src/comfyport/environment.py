"""Reads a dataclass from environment variables: how a field is declared, what its text may be, and the table of all."""

import base64
import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, cast

from comfyport.errors import InvalidSetting


class Secret:
    """A value that shows only to those who ask for it by name."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret('********')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        """The value itself: for a request's header, never for a log."""
        return self._value


def as_boolean(text: str) -> bool:
    """True or false, in the usual spellings. This and all that follow raise ValueError that says what to write."""
    known = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in known:
        raise ValueError("write true or false")
    return known[text.lower()]


def as_words(text: str) -> tuple[str, ...]:
    """Words that are separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def as_protocols(text: str) -> tuple[str, ...]:
    """What git may fetch with."""
    words = as_words(text.lower())
    if not words or not set(words) <= {"https", "ssh", "http", "file"}:
        raise ValueError("write some of https, ssh, http and file, separated by commas")
    return words


def as_port(text: str) -> int:
    """The number of a port."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError("write a port number between 1 and 65535")
    return int(text)


def as_count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("write a whole number of at least 1")
    return int(text)


def as_whole(text: str) -> int:
    """A whole number, 0 included."""
    if not text.isdecimal():
        raise ValueError("write a whole number of at least 0")
    return int(text)


def as_seconds(text: str) -> float:
    """Seconds, not negative."""
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("write a number of seconds") from None
    if not 0 <= seconds < float("inf"):
        raise ValueError("write a number of seconds that is not negative")
    return seconds


def as_url(text: str) -> str:
    """An http address without a slash at its end."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("write an address that starts with http:// or https://")
    return _without_userinfo(text).rstrip("/")


def as_bucket_url(text: str) -> str:
    """The address of a bucket."""
    if not text.startswith(("http://", "https://", "gs://", "az://")):
        raise ValueError("write an address that starts with https://, gs:// or az://")
    return _without_userinfo(text).rstrip("/")


class _HoldsSecret(ValueError):
    """What is wrong with a value that must not be shown."""


def _without_userinfo(url: str) -> str:
    """The address, which goes into errors, logs and `/health`."""
    if "@" in re.split(r"[/?#]", url.partition("://")[2])[0]:
        raise _HoldsSecret("write the address without a user name and password, since addresses show in the log")
    return url


def as_volume_version(text: str) -> int:
    """The version of Modal's file system for Volumes."""
    if text not in ("1", "2"):
        raise ValueError("write 1 or 2")
    return int(text)


def as_link_seconds(text: str) -> int:
    """How long a signed link lasts."""
    seconds = as_count(text)
    if seconds > 7 * 24 * 3600:
        raise ValueError("signed links last 604800 seconds (7 days) at most")
    return seconds


def as_megabytes(text: str) -> float:
    """Megabytes, above 0."""
    try:
        megabytes = float(text)
    except ValueError:
        raise ValueError("write a number of megabytes") from None
    if not 0 < megabytes < float("inf"):
        raise ValueError("write a number of megabytes above 0")
    return megabytes


def as_webhook_secret(text: str) -> Secret:
    """The secret that webhooks are signed with, as Standard Webhooks writes one."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("write whsec_ and 24 to 64 random bytes in base64")
    return Secret(text)


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of `choices`, however its letters are written."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"write one of {', '.join(choices)}")
        return text.lower()

    return parse


def setting(name: str, default: Any, meaning: str, parse: Callable[[str], Any] = str, shown: str = "") -> Any:
    """One variable: its name, default, meaning for the README, and parser; `shown` stands for a computed default."""
    return dataclasses.field(
        default=default, metadata={"name": name, "meaning": meaning, "parse": parse, "shown": shown}
    )


class FromEnvironment:
    """Reads the fields of a dataclass from the environment variables that they are declared with."""

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings as `environ` has them; an empty variable counts as unset. Raises InvalidSetting."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cast("Any", cls)):
            name, text = field.metadata["name"], environ.get(field.metadata["name"], "").strip()
            if text:
                try:
                    values[field.name] = field.metadata["parse"](text)
                except ValueError as error:
                    hidden = isinstance(field.default, Secret) or isinstance(error, _HoldsSecret)
                    shown = "********" if hidden else text
                    raise InvalidSetting(name, shown, str(error)) from None
        return cls(**values)


def table(classes: Iterable[type[FromEnvironment]]) -> str:
    """The README's table of the variables that these classes read, as Markdown."""
    rows: dict[str, str] = {}
    for declared in classes:
        for field in dataclasses.fields(cast("Any", declared)):
            name = field.metadata["name"]
            rows.setdefault(name, f"| `{name}` | {_shown(field)} | {field.metadata['meaning']} |")
    return "\n".join(("| variable | default | what it does |", "|---|---|---|", *rows.values()))


def _shown(field: "dataclasses.Field[Any]") -> str:
    if field.metadata["shown"]:
        return str(field.metadata["shown"])
    default = field.default
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        default = ",".join(default)
    return (
        ""
        if isinstance(default, Secret) or default in (None, "")
        else f"`{default:g}`"
        if isinstance(default, float)
        else f"`{default}`"
    )
