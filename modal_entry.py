"""comfyport on Modal.

    modal secret create comfyport COMFYPORT_API_KEY=... HF_TOKEN=...
    modal deploy modal_entry.py                    # the API, and ComfyUI on a GPU behind it
    modal run modal_entry.py::download_models      # fill the Volume without a GPU
    modal run modal_entry.py::verify_models --full

Everything here is set by the COMFYPORT_MODAL_* variables of the README's table, when it is deployed. This file runs
again in every container and must come out the same there, so the image carries their values.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import modal

ROOT = Path(__file__).parent
VOLUME_PATH = "/cache"
if modal.is_local():
    # Whoever deploys needs modal and nothing else; in the image, comfyport is installed.
    sys.path.insert(0, str(ROOT / "src"))

from comfyport.serve.modal_service import deployment  # noqa: E402
from comfyport.settings import ModalSettings  # noqa: E402

settings = ModalSettings.load()
app = modal.App(settings.app)
image = modal.Image.from_dockerfile(ROOT / "Dockerfile", context_dir=ROOT).env(
    {**settings.as_environ(), "COMFYPORT_VOLUME": VOLUME_PATH}
)
volume = modal.Volume.from_name(settings.volume, create_if_missing=True, version=settings.volume_version)
secret = modal.Secret.from_name(settings.secret, required_keys=["COMFYPORT_API_KEY"])
common: dict[str, Any] = {"image": image, "secrets": [secret], "timeout": settings.timeout}
common |= deployment.placement(settings)


if modal.is_local() and (warning := deployment.cost_warning(settings)):
    logging.getLogger("comfyport").warning(warning)


@app.cls(volumes={VOLUME_PATH: volume}, **{**common, **deployment.gpu_class(settings)})
class ComfyUI:
    """One GPU, one ComfyUI, one job at a time; Modal starts as many as there is work for, and none when idle."""

    @modal.enter(snap=settings.snapshot)
    def boot(self) -> None:
        """Starts ComfyUI before it has a GPU, if a memory snapshot is to be taken of it."""
        from comfyport.serve.modal_service import gpu

        gpu.boot(snapshot=settings.snapshot)

    @modal.enter()
    def start(self) -> None:
        """Gives ComfyUI its GPU or starts it, and fetches missing models."""
        from comfyport.serve.modal_service import gpu

        gpu.start(volume)

    @modal.method()
    async def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to a job, whose id is its call's: by it the log and its files on the Volume are found."""
        from comfyport.serve.host import handler

        return await handler({**job, "id": modal.current_function_call_id()})

    @modal.exit()
    def stop(self) -> None:
        """Ends ComfyUI."""
        from comfyport.serve import host

        host.stop_shared()


if settings.ui:

    @app.cls(volumes={VOLUME_PATH: volume}, **{**common, **deployment.page_class(settings)})
    @modal.concurrent(max_inputs=deployment.PAGE_REQUESTS)
    class Page:
        """ComfyUI's own page, in one container; its workflows and outputs are kept on the Volume."""

        @modal.enter()
        def start(self) -> None:
            """Starts ComfyUI and fetches missing models."""
            from comfyport.serve.modal_service import page

            page.start()

        @modal.asgi_app(requires_proxy_auth=True)
        def show(self) -> Any:
            """ComfyUI's page itself, for those who bring a Modal-Key and its Modal-Secret."""
            from comfyport.serve.modal_service import page

            return page.show()

        @modal.exit()
        def stop(self) -> None:
            """Ends ComfyUI; Modal commits what is on the Volume then."""
            from comfyport.serve.modal_service import page

            page.stop()


@app.function(**common)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def api() -> Any:
    """The HTTP face, in a small CPU container: a GPU is paid for only while it works."""
    from comfyport.serve.modal_service import api

    return api.build(ComfyUI().run)


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
