"""Takes a container out of service that is of no more use (modal 1.6)."""

import logging
import threading
from collections.abc import Callable

import modal

from comfyport.errors import ComfyportError

logger = logging.getLogger(__name__)


def leave_when(useless: Callable[[], ComfyportError]) -> None:
    """Lets this container end after what it does, once `useless` returns why; Modal starts another for what waits."""

    def watch() -> None:
        error = useless()
        logger.error("this container takes no more work: %s", error.message)
        modal.experimental.stop_fetching_inputs()

    threading.Thread(target=watch, name="out-of-service", daemon=True).start()
