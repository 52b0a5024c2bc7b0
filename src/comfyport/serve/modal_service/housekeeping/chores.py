"""Every piece of housekeeping by its name, as a container without a GPU is asked for it."""

import logging
from collections.abc import Callable
from typing import Any

from comfyport.errors import ComfyportError
from comfyport.serve import logs
from comfyport.serve.modal_service.housekeeping import additions, custom_nodes, diagnosis, downloads, upkeep
from comfyport.serve.modal_service.housekeeping.downloads import Site
from comfyport.serve.modal_service.housekeeping.report import Report
from comfyport.settings import Settings

logger = logging.getLogger(__name__)

CHORES: dict[str, Callable[..., Report]] = {
    "diagnose": lambda site: diagnosis.diagnose(site.volume),
    "download": downloads.download,
    "verify": lambda site, full: upkeep.verify(site.volume, full=full),
    "monitor": lambda site, most_gb: upkeep.monitor(site.volume, most_gb=most_gb),
    "find_leftovers": lambda site: upkeep.find_leftovers(site.volume),
    "cleanup": lambda site: upkeep.cleanup(site.volume),
    "add_models": additions.add_models,
    "find_model": additions.find_model,
    "delete_model": additions.delete_model,
    "add_nodes": lambda site, names, ref, lock: custom_nodes.add_nodes(names, ref, lock),
}


def do(name: str, arguments: dict[str, Any], *, volume: Any, fetch: Any) -> dict[str, Any]:
    """What came of a chore, as plain values; `fetch` is the function that runs `downloads.fetch_batch` elsewhere."""
    logs.configure(Settings.load().log_level)
    try:
        return CHORES[name](Site(volume, fetch), **arguments).as_json()
    except ComfyportError as error:
        logger.warning("%s failed code=%s", name, error.code)
        return Report(ok=False, lines=[error.message]).as_json()
