"""The lock that comes with comfyport: well-known files by their names, and where each comes from."""

from pathlib import Path

from comfyport.models import lock
from comfyport.models.lock import Entry

FILE = "models.lock.json"
_HERE = Path(__file__).parent
# In a wheel it lies beside this file; in the repository at its top.
_PLACES = (_HERE / FILE, _HERE.parents[2] / FILE)


def shipped_models() -> tuple[Entry, ...]:
    """The entries of the lock that comes with comfyport; their groups are its own. Raises InvalidLock."""
    return lock.load(next((place for place in _PLACES if place.is_file()), _PLACES[0])).models
