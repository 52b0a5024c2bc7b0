"""What the settings of a deployment are in Modal's words, and what they cost (modal 1.6).

Read where somebody deploys, with nothing installed but modal, and in each container: it imports the settings only.
"""

from typing import Any

from comfyport.errors import InvalidSetting
from comfyport.settings import ModalSettings

# 365 days of 24 hours, over 12 months.
HOURS_A_MONTH = 730
# The page's requests and its WebSocket run side by side in its one container.
PAGE_REQUESTS = 100
# A page that stays open is one request, its WebSocket: Modal's longest, so that no work in it is cut off.
PAGE_SECONDS = 24 * 3600


def gpu_class(settings: ModalSettings) -> dict[str, Any]:
    """The options of the class that runs jobs. Raises InvalidSetting."""
    most = settings.max_containers
    if most is not None and settings.min_containers > most:
        raise InvalidSetting(
            "COMFYPORT_MODAL_MIN_CONTAINERS",
            str(settings.min_containers),
            f"COMFYPORT_MODAL_MAX_CONTAINERS allows {most}",
        )
    return {
        "gpu": list(settings.gpu),
        "min_containers": settings.min_containers,
        "max_containers": most,
        "buffer_containers": settings.buffer_containers or None,
        "scaledown_window": _window("COMFYPORT_MODAL_SCALEDOWN", settings.scaledown_window),
        "startup_timeout": settings.start_timeout,
        "enable_memory_snapshot": settings.snapshot,
    }


def page_class(settings: ModalSettings) -> dict[str, Any]:
    """The options of the class with ComfyUI's page: one container, none when nobody looks. Raises InvalidSetting."""
    return {
        "gpu": list(settings.page_gpu),
        "min_containers": 0,
        "max_containers": 1,
        "scaledown_window": _window("COMFYPORT_MODAL_UI_SCALEDOWN", settings.ui_scaledown_window),
        "startup_timeout": settings.start_timeout or settings.timeout,
        "timeout": PAGE_SECONDS,
    }


def placement(settings: ModalSettings) -> dict[str, Any]:
    """Where containers may run, if that was said."""
    return {"region": list(settings.regions)} if settings.regions else {}


def cost_warning(settings: ModalSettings) -> str | None:
    """What a deployment costs while nobody uses it; None if nothing."""
    containers = settings.min_containers
    if not containers:
        return None
    kind, _, count = settings.gpu[0].partition(":")
    gpus = containers * int(count or 1)
    return (
        f"COMFYPORT_MODAL_MIN_CONTAINERS={containers} keeps {gpus} GPU{'s' if gpus > 1 else ''} ({kind}) running "
        f"whether jobs come or not: billed for 24 h a day, {gpus * HOURS_A_MONTH} GPU hours a month. "
        "Unset it and deploy again to pay for a GPU only while it works."
    )


def _window(name: str, seconds: int) -> int:
    if not 2 <= seconds <= 3600:
        raise InvalidSetting(name, str(seconds), "Modal takes 2 to 3600 seconds")
    return seconds
