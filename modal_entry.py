"""comfyport on Modal.

    modal secret create comfyport COMFYPORT_API_KEY=... HF_TOKEN=...
    modal deploy modal_entry.py                    # the API, and ComfyUI on a GPU behind it
    modal run modal_entry.py::download_models      # fill the Volume without a GPU
    modal run modal_entry.py::verify_models --full
    modal run modal_entry.py::diagnose             # also delete_model, cleanup_models, monitor_volume
    modal run scripts/add_model_hf.py --help       # also add_model_url, batch_download, add_custom_nodes

Everything here is set by the COMFYPORT_MODAL_* variables of the README's table, when it is deployed. This file runs
again in every container and must come out the same there, so the image carries their values.
"""

import logging
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

from comfyport.serve.modal_service import deployment  # noqa: E402
from comfyport.serve.modal_service.housekeeping import desk  # noqa: E402
from comfyport.settings import ModalSettings  # noqa: E402

settings = ModalSettings.load()
app = modal.App(settings.app)
# Apart, so that `modal run` starts neither a GPU container that is to be kept nor the API.
housekeeping = modal.App(f"{settings.app}-housekeeping")
image = modal.Image.from_dockerfile(ROOT / "Dockerfile", context_dir=ROOT).env(
    {**settings.as_environ(), "COMFYPORT_VOLUME": VOLUME_PATH}
)
volume = modal.Volume.from_name(settings.volume, create_if_missing=True, version=settings.volume_version)
secret = modal.Secret.from_name(settings.secret, required_keys=[] if settings.proxy_auth else ["COMFYPORT_API_KEY"])
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
        from comfyport.serve.modal_service import work

        return await work.answer(job, app=settings.app, volume=volume, notify=post_webhook)

    @modal.method()
    async def stream(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """What a job tells, then its result; for callers in Python, with `stream.remote_gen`."""
        from comfyport.serve.modal_service import work

        async for event in work.events(job, app=settings.app, volume=volume, notify=post_webhook):
            yield event

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


@housekeeping.function(volumes={VOLUME_PATH: volume}, **common)
def chore(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One piece of housekeeping, in a container without a GPU."""
    from comfyport.serve.modal_service.housekeeping import chores

    return chores.do(name, arguments, volume=volume, fetch=fetch)


@housekeeping.function(volumes={VOLUME_PATH: volume}, cpu=2.0, max_containers=settings.downloaders, **common)
def fetch(lock: str) -> dict[str, Any]:
    """Brings one part of a large download to the Volume, beside other containers."""
    from comfyport.serve.modal_service.housekeeping import downloads

    return downloads.fetch_batch(volume, lock)


@housekeeping.local_entrypoint()
def download_models(groups: str = "") -> None:
    """Fetches what the lock asks for and the Volume lacks; `groups` as in MODEL_GROUPS."""
    desk.show(chore.remote("download", {"groups": groups}))


@housekeeping.local_entrypoint()
def verify_models(full: bool = False) -> None:
    """Checks that the Volume holds what the lock asks for; `--full` reads every byte."""
    desk.show(chore.remote("verify", {"full": full}))


@housekeeping.local_entrypoint()
def delete_model(name: str, yes: bool = False, restart: bool | None = None) -> None:
    """Removes a model, by its path or its name, from the Volume and from models.lock.json."""
    desk.delete_model(chore, name, lock=ROOT / "models.lock.json", yes=yes, restart=restart)


@housekeeping.local_entrypoint()
def cleanup_models(yes: bool = False) -> None:
    """Removes what the lock no longer names, and what broken downloads have left."""
    desk.cleanup(chore, yes=yes)


@housekeeping.local_entrypoint()
def monitor_volume(most_gb: float = 0.0) -> None:
    """Shows what takes the room on the Volume; fails if that is more than `most_gb`."""
    desk.show(chore.remote("monitor", {"most_gb": most_gb}))


@housekeeping.local_entrypoint()
def diagnose() -> None:
    """Shows what a container of the app finds: versions, ComfyUI, secrets by name, the Volume, the models."""
    desk.show(chore.remote("diagnose", {}))
