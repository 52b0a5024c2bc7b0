"""Writes what an imported `modal_entry` declares to $DESCRIBE_TO when its process ends; may be its sitecustomize."""

import atexit
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def description(app: Any) -> dict[str, Any]:
    """Every function and class of an App, with what each is given."""
    from modal._utils.async_utils import synchronizer

    warnings.simplefilter("ignore")
    functions = {name: synchronizer._translate_in(made) for name, made in sorted(app.registered_functions.items())}
    return {
        "app": app.name,
        "classes": sorted(app.registered_classes),
        "functions": {
            name: {
                "gpu": function._spec.gpus,
                "volumes": {str(path): repr(volume) for path, volume in function._spec.volumes.items()},
                "secrets": [repr(secret) for secret in function._spec.secrets],
                "image": function._spec.image is not None,
                "placement": str(function._spec.scheduler_placement),
                "kind": str(function._webhook_config) + str(function._is_generator),
            }
            for name, function in functions.items()
        },
    }


@atexit.register
def write() -> None:
    """Writes it, unless `modal_entry` was not imported."""
    entry = sys.modules.get("modal_entry")
    if entry is not None and (file := os.environ.get("DESCRIBE_TO")):
        Path(file).write_text(json.dumps(description(entry.app), indent=1))
