"""What opens the sources of a lock. Apart from `sources.py`, so that a warm start loads no HTTP library."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Access:
    """Addresses and tokens of the Hub and of Civitai, and the environment for a source's `auth: env:NAME`."""

    hf_endpoint: str = "https://huggingface.co"
    hf_token: str = field(default="", repr=False)
    civitai_endpoint: str = "https://civitai.com"
    civitai_token: str = field(default="", repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
