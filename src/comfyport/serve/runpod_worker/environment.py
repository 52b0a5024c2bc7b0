"""What the SDK is told through its environment, unless the user has said otherwise. Set before it is imported."""

from collections.abc import MutableMapping

DEFAULTS = {
    # Its own default, DEBUG, writes whole answers to the log.
    "RUNPOD_LOG_LEVEL": "INFO",
    # By default, less than 10 % of `/` free ends a worker. The models are on the volume, and where `/` shows the disk
    # of the host, nine tenths full is nothing unusual; ComfyUI's outputs still need some of it.
    "RUNPOD_MIN_DISK_PERCENT": "1",
    # Its benchmark of the GPU runs beside ComfyUI's start here, and shares the processor with that.
    "RUNPOD_GPU_BENCHMARK_TIMEOUT": "20",
}


def set_defaults(environ: MutableMapping[str, str]) -> None:
    """Adds what is not set."""
    for name, value in DEFAULTS.items():
        environ.setdefault(name, value)
