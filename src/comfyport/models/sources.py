"""A source of the lock -> a request: the address, and the token that only this address's host may see."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from huggingface_hub import hf_hub_url

from comfyport.errors import InvalidSetting
from comfyport.models.access import Access
from comfyport.models.lock import HuggingFaceSource, Source


@dataclass(frozen=True)
class Request:
    """One address to fetch; `token` goes to that address's host alone, never to where it redirects."""

    url: str
    token: str = field(default="", repr=False)
    token_variable: str = ""

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a signature: fit for logs and receipts."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()


def request_for(source: Source, access: Access) -> Request:
    """The request that fetches `source`. Raises InvalidSetting if its `auth` names an unset variable."""
    if isinstance(source, HuggingFaceSource):
        url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=access.hf_endpoint)
        return Request(url, access.hf_token, "HF_TOKEN")
    if source.auth is None:
        return Request(source.url)
    variable = source.auth.removeprefix("env:")
    token = access.environ.get(variable, "")
    if not token:
        raise InvalidSetting(variable, "", f"the lock's source {Request(source.url).shown} needs it")
    return Request(source.url, token, variable)
