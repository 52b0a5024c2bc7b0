"""The JSON Schema for editors: current, and as strict as the reader."""

import json
from pathlib import Path

from comfyport.models import schema

ROOT = Path(__file__).parents[2]


def test_the_file_at_the_top_is_current():
    written = json.loads((ROOT / "models.lock.schema.json").read_text(encoding="utf-8"))

    assert written == schema.document(), "run: python -m comfyport.models.schema > models.lock.schema.json"


def test_the_shipped_locks_name_it():
    for lock in (ROOT / "models.lock.json", ROOT / "examples" / "quickstart" / "models.lock.json"):
        named = json.loads(lock.read_text(encoding="utf-8"))["$schema"]
        assert (lock.parent / named).resolve() == ROOT / "models.lock.schema.json"
