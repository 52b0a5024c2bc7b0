"""Is the installed SDK the one that the pace was written against? Its source says so, not its version.

The pace stands in for parts of RunPod's SDK and builds on others, and none of them is public. What it relies on is
pinned here by a digest: any other source, a patched or a newer SDK, is left to run as it is.
"""

import hashlib
import inspect
import sys
from types import ModuleType

from runpod import http_client
from runpod.serverless import worker
from runpod.serverless.modules import rp_fitness, rp_http, rp_job, rp_scale, worker_state

# runpod 1.12.0. `python -m comfyport.serve.runpod_worker.sdk` prints the digest of the installed one: read what has
# changed in these modules before you copy it here.
KNOWN = "bc1ac932a2b776a77d5251ba6e1d7b1342a5788ef3df63a9371ef9500fb0159a"

MODULES: tuple[ModuleType, ...] = (http_client, worker, rp_fitness, rp_http, rp_job, rp_scale, worker_state)


def digest() -> str:
    """The sha256 of the modules' source, "" if it cannot be read."""
    try:
        source = "".join(inspect.getsource(module) for module in MODULES)
    except OSError:
        return ""
    return hashlib.sha256(source.encode()).hexdigest()


def is_known() -> bool:
    """Whether the pace may act on this SDK."""
    return digest() == KNOWN


if __name__ == "__main__":
    sys.stdout.write(f"{digest()}\n")
