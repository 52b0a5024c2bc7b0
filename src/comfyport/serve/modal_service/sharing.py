"""When what containers do on a Modal Volume becomes visible to each other (modal 1.6).

A container sees the Volume as it was when it was mounted, and its own changes. `commit` shows these to others; `reload`
shows theirs, and is refused while a file of the Volume is open. Of a file that two have changed, the last commit wins.
"""

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
        volume.commit()


def reload(volume: Any) -> bool:
    """Shows what others have committed; False, and all stays as it was, if that is refused because files are open."""
    try:
        volume.reload()
    except RuntimeError as error:
        logger.warning("the Volume stays as it was when this container got it: %s", error)
        return False
    return True
