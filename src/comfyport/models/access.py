"""What opens the sources of a lock. Apart from `sources.py`, so that a warm start loads no HTTP library."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Access:
    """The Hub's address, the Hub's token, and the environment for a source's `auth: env:NAME`."""

    hf_endpoint: str = "https://huggingface.co"
    hf_token: str = field(default="", repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
