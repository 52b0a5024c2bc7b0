"""A source of the lock -> a request: the address, and the token that only the hosts it is for may see."""

import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from comfyport.errors import InvalidSetting
from comfyport.models.access import Access
from comfyport.models.lock import CivitaiSource, HuggingFaceSource, Source, UrlSource

CIVITAI = "https://civitai.com"
# The same site under a second name: what is not for everyone is served there, and one account opens both.
CIVITAI_ORIGINS = frozenset({CIVITAI, "https://civitai.red"})

# What quote leaves as it is: everything that may stand in an address, and what was quoted already.
_SAFE = "!#$%&'()*+,/:;=?@[]~"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class Request:
    """One address to fetch.

    `token` goes to `origins` alone (scheme, host and port, such as `https://huggingface.co`), wherever the address
    redirects; `token_variable` is the variable that it came from, or could come from. `name` is what people call the
    source, where its address says little.
    """

    url: str
    token: str = field(default="", repr=False)
    token_variable: str = ""
    origins: frozenset[str] = frozenset()
    name: str = ""

    @property
    def shown(self) -> str:
        """The source's name, or its address without what may be a secret: fit for logs and receipts."""
        parts = urlsplit(self.url)
        return self.name or parts._replace(netloc=_host(parts.netloc), query="", fragment="").geturl()


def request_for(source: Source, access: Access) -> Request:
    """The request that fetches `source`.

    Raises InvalidSetting if its `auth` names an unset variable, or a token cannot be one.
    """
    match source:
        case HuggingFaceSource():
            return _from_hugging_face(source, access)
        case CivitaiSource():
            return _from_civitai(source, access)
        case UrlSource():
            return _from_address(source, access)


def called(source: Source) -> str:
    """What people call a source, with nothing in it that may be a secret."""
    match source:
        case HuggingFaceSource(repo=repo, revision=revision):
            return f"{repo}@{revision[:7]}"
        case CivitaiSource(version_id=version, file_id=file):
            return f"civitai version {version}" + (f" file {file}" if file else "")
        case UrlSource(url=url):
            return Request(url).shown


def origin(url: str) -> str:
    """Scheme, host and port of an address, lower case, without the scheme's own port: what a token is bound to."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return f"{scheme}://{_host(parts.netloc).lower().removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def sendable(url: str) -> str:
    """`url` as it goes over the wire: in ASCII, without a user name or a password. Raises ValueError if it cannot."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no http address")
    host = parts.hostname.encode("idna").decode("ascii")
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        netloc += f":{parts.port}"
    path, query = (quote(part, safe=_SAFE) for part in (parts.path, parts.query))
    return parts._replace(netloc=netloc, path=path, query=query, fragment="").geturl()


def _from_hugging_face(source: HuggingFaceSource, access: Access) -> Request:
    # Here and not above: it takes 0.17 s to load, and another source does not need it.
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=access.hf_endpoint)
    return Request(url, header_token("HF_TOKEN", access.hf_token), "HF_TOKEN", frozenset({origin(url)}))


def _from_civitai(source: CivitaiSource, access: Access) -> Request:
    url = f"{access.civitai_endpoint}/api/download/models/{source.version_id}"
    name = f"civitai version {source.version_id}"
    if source.file_id is not None:
        url, name = f"{url}?fileId={source.file_id}", f"{name} file {source.file_id}"
    origins = frozenset({origin(url)})
    if CIVITAI in origins:
        origins |= CIVITAI_ORIGINS
    return Request(url, header_token("CIVITAI_TOKEN", access.civitai_token), "CIVITAI_TOKEN", origins, name)


def _from_address(source: UrlSource, access: Access) -> Request:
    url = sendable(source.url)
    if source.auth is None:
        return Request(url)
    variable = source.auth.removeprefix("env:")
    token = header_token(variable, access.environ.get(variable, ""))
    if not token:
        raise InvalidSetting(variable, "", f"the lock's source {Request(source.url).shown} needs it")
    return Request(url, token, variable, frozenset({origin(url)}))


def header_token(variable: str, token: str) -> str:
    """The token without the line break that files end with. Raises InvalidSetting if no header can carry the rest."""
    # An HTTP library would refuse it later, with the token in its message.
    stripped = token.strip()
    if re.search(r"[^!-~]", stripped):
        raise InvalidSetting(variable, "********", "a token has no spaces, line breaks or letters beyond ASCII")
    return stripped


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2]
