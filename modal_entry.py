"""comfyport on Modal.

    modal secret create comfyport COMFYPORT_API_KEY=... HF_TOKEN=...
    modal deploy modal_entry.py                    # the API, and ComfyUI on a GPU behind it
    modal run modal_entry.py::download_models      # fill the Volume without a GPU
    modal run modal_entry.py::verify_models --full

Everything here is set by the COMFYPORT_MODAL_* variables of the README's table, when it is deployed. This file runs
again in every container and must come out the same there, so the image carries their values.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import modal

ROOT = Path(__file__).parent
VOLUME_PATH = "/cache"
if modal.is_local():
    # Whoever deploys needs modal and nothing else; in the image, comfyport is installed.
    sys.path.insert(0, str(ROOT / "src"))

from comfyport.settings import ModalSettings  # noqa: E402

settings = ModalSettings.load()
app = modal.App(settings.app)
image = modal.Image.from_dockerfile(ROOT / "Dockerfile", context_dir=ROOT).env(
    {**settings.as_environ(), "COMFYPORT_VOLUME": VOLUME_PATH}
)
volume = modal.Volume.from_name(settings.volume, create_if_missing=True)
secret = modal.Secret.from_name(settings.secret, required_keys=[] if settings.proxy_auth else ["COMFYPORT_API_KEY"])
common: dict[str, Any] = {"image": image, "secrets": [secret], "timeout": settings.timeout}


@app.cls(gpu=list(settings.gpu), volumes={VOLUME_PATH: volume}, scaledown_window=settings.scaledown_window, **common)
class ComfyUI:
    """One GPU, one ComfyUI, one job at a time; Modal starts as many as there is work for, and none when idle."""

    @modal.enter()
    def start(self) -> None:
        """Fetches missing models and starts ComfyUI."""
        from comfyport.serve.modal_service import gpu

        gpu.start()
        volume.commit()

    @modal.method()
    async def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to a job, whose id is its call's: by it the log and its files on the Volume are found."""
        from comfyport.serve.modal_service import work

        return await work.answer(job, app=settings.app, notify=post_webhook)

    @modal.method()
    async def stream(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """What a job tells, then its result; for callers in Python, with `stream.remote_gen`."""
        from comfyport.serve.modal_service import work

        async for event in work.events(job, app=settings.app, notify=post_webhook):
            yield event

    @modal.exit()
    def stop(self) -> None:
        """Ends ComfyUI."""
        from comfyport.serve import host

        host.stop_shared()


@app.function(**common)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(requires_proxy_auth=settings.proxy_auth)
def api() -> Any:
    """The HTTP face, in a small CPU container: a GPU is paid for only while it works."""
    from comfyport.serve.modal_service import api

    return api.build(ComfyUI().run, app=settings.app, notify=post_webhook)


@app.function(**common)
async def post_webhook(job_id: str, url: str) -> None:
    """Tells a job's webhook of its end, where no GPU waits for a slow receiver."""
    from comfyport.serve.modal_service import notices

    await notices.post(job_id, url, app=settings.app, run=ComfyUI().run)


@app.function(volumes={VOLUME_PATH: volume}, **common)
def download_models(groups: str = "") -> None:
    """Fetches what the lock asks for and the Volume lacks; `groups` as in MODEL_GROUPS."""
    from comfyport.serve.modal_service import chores

    try:
        chores.models("sync", groups=groups)
    finally:
        volume.commit()


@app.function(volumes={VOLUME_PATH: volume}, **common)
def verify_models(full: bool = False) -> None:
    """Checks that the Volume holds what the lock asks for; `--full` reads every byte."""
    from comfyport.serve.modal_service import chores

    chores.models("verify", *(["--full"] if full else []))
