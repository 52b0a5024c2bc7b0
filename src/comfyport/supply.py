"""What the settings make of the supply of models: the volume, and what opens their sources. A warm start loads it."""

import os
from collections.abc import Mapping
from pathlib import Path

from comfyport.models.access import Access
from comfyport.models.volume import Volume
from comfyport.settings import Settings


def volume(settings: Settings, root: Path | None = None) -> Volume:
    """The volume of the models, at `root` if that is given."""
    return Volume(root or settings.volume_folder, staging=settings.staging, tells_space=not settings.modal_task_id)


def access(settings: Settings, environ: Mapping[str, str] = os.environ) -> Access:
    """What opens the sources of models; `environ` is where a source's `auth: env:NAME` is looked up."""
    return Access(
        settings.hf_endpoint,
        settings.hf_token.reveal(),
        settings.civitai_endpoint,
        settings.civitai_token.reveal(),
        environ,
    )
