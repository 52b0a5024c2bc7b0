"""Tokens: present, and accepted by the host that they are for. None of them is ever shown."""

import http.client
from collections.abc import Iterable, Iterator

from comfyport.doctor.finding import Finding
from comfyport.errors import InvalidSetting
from comfyport.models.access import Access
from comfyport.models.lock import Entry, UrlSource
from comfyport.models.sources import header_token
from comfyport.models.wire import NETWORK_ERRORS, Wire

AREA = "tokens"
SECONDS = 10.0


def examine(access: Access, entries: Iterable[Entry]) -> Iterator[Finding]:
    """Findings on the tokens for models; asks the Hub and Civitai whether they know theirs."""
    yield _asked("HF_TOKEN", access.hf_token, f"{access.hf_endpoint}/api/whoami-v2", "gated and private repositories")
    yield _asked("CIVITAI_TOKEN", access.civitai_token, f"{access.civitai_endpoint}/api/v1/me", "most Civitai models")
    for variable in sorted(_named(entries)):
        if access.environ.get(variable):
            yield Finding(AREA, variable, "ok", "set; a source of the lock names it")
        else:
            yield Finding(AREA, variable, "problem", "not set, but a source of the lock needs it", f"Set {variable}.")


def _named(entries: Iterable[Entry]) -> set[str]:
    sources = (source for entry in entries for source in entry.sources if isinstance(source, UrlSource))
    return {source.auth.removeprefix("env:") for source in sources if source.auth}


def _asked(variable: str, token: str, url: str, needed_for: str) -> Finding:
    if not token:
        return Finding(AREA, variable, "note", f"not set; {needed_for} need it")
    wire = Wire(SECONDS)
    try:
        status = wire.get(url, {"Authorization": f"Bearer {header_token(variable, token)}"}).status
    except InvalidSetting as error:
        return Finding(AREA, variable, "problem", error.message, "Copy it anew.")
    except NETWORK_ERRORS as error:
        fix = "Without it models can be neither resolved nor fetched from there; what is on the volume is used."
        found = f"set; {_host(url)} cannot be reached ({type(error).__name__})"
        return Finding(AREA, variable, "note", found, fix)
    finally:
        wire.close()
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return Finding(AREA, variable, "problem", f"refused by {_host(url)}", "Make a new token there and set it.")
    if status != http.client.OK:
        return Finding(AREA, variable, "note", f"set; {_host(url)} answered {status}")
    return Finding(AREA, variable, "ok", f"accepted by {_host(url)}")


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]
