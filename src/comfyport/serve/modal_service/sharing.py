"""When what containers do on a Modal Volume becomes visible to each other (modal 1.6).

A container sees the Volume as it was when it was mounted, and its own changes. `commit` shows these to others; `reload`
shows theirs, and is refused while a file of the Volume is open. Of a file that two have changed, the last commit wins.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger(__name__)


@contextmanager
def up_to_date(volume: Any) -> Iterator[None]:
    """Shows what others have committed, and commits in the end, whatever happens: what is on the Volume is verified.

    A container may be used again, so that even the first look needs the reload.
    """
    reload(volume)
    try:
        yield
    finally:
        commit(volume)


def commit(volume: Any) -> None:
    """Shows others what was done here.

    The client reloads the Volume after that. Where ComfyUI has files open, Modal may refuse this: what was committed
    stays so. A commit that fails is done again by Modal itself, every few seconds and at the container's end.
    """
    try:
        volume.commit()
    except RuntimeError as error:
        logger.warning("after a commit: %s", error)


async def keep_outputs(volume: Any, answer: dict[str, Any]) -> None:
    """Commits what a job has put on the Volume, before whoever asked for it hears that it is there."""
    items = [item for listed in answer.values() if isinstance(listed, list) for item in listed]
    if any(isinstance(item, dict) and item.get("type") == "volume" for item in items):
        await asyncio.to_thread(commit, volume)


def reload(volume: Any) -> bool:
    """Shows what others have committed; False, and all stays as it was, if that is refused because files are open."""
    try:
        volume.reload()
    except RuntimeError as error:
        logger.warning("the Volume stays as it was when this container got it: %s", error)
        return False
    return True
