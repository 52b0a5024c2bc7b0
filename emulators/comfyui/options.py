"""The command line: every flag that ComfyUI v0.3.64 knows, and three of the emulator's own."""

import argparse
from collections.abc import Sequence

from emulators.comfyui.faults import FAULTS

SWITCHES_WITHOUT_EFFECT = """
    auto-launch disable-auto-launch cuda-malloc disable-cuda-malloc force-fp32 force-fp16 fp32-unet fp64-unet
    bf16-unet fp16-unet fp8_e4m3fn-unet fp8_e5m2-unet fp8_e8m0fnu-unet fp16-vae fp32-vae bf16-vae cpu-vae
    fp8_e4m3fn-text-enc fp8_e5m2-text-enc fp16-text-enc fp32-text-enc bf16-text-enc force-channels-last
    disable-ipex-optimize supports-fp8-compute cache-classic use-split-cross-attention
    use-quad-cross-attention use-pytorch-cross-attention use-sage-attention use-flash-attention
    disable-xformers force-upcast-attention dont-upcast-attention gpu-only highvram normalvram lowvram novram
    async-offload force-non-blocking disable-smart-memory deterministic mmap-torch-files disable-mmap
    dont-print-server windows-standalone-build disable-all-custom-nodes disable-api-nodes multi-user
    log-stdout enable-compress-response-body
"""

VALUES_WITHOUT_EFFECT = """
    tls-keyfile tls-certfile cuda-device default-device oneapi-device-selector reserve-vram
    default-hashing-function front-end-version front-end-root comfy-api-base database-url
"""

VERBOSITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `main.py`; a flag that it does not know ends the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="main.py", description="The ComfyUI emulator: ComfyUI's own flags, and --fault to misbehave."
    )
    _add_server_flags(parser)
    _add_folder_flags(parser)
    _add_emulator_flags(parser)
    for name in SWITCHES_WITHOUT_EFFECT.split():
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name in VALUES_WITHOUT_EFFECT.split():
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in ("fast", "whitelist-custom-nodes"):
        parser.add_argument(f"--{name}", nargs="*", help=argparse.SUPPRESS)
    for name in ("enable-cors-header", "directml"):
        parser.add_argument(f"--{name}", nargs="?", const="*", help=argparse.SUPPRESS)
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads `arguments` (the program's own when None)."""
    return build_parser().parse_args(arguments)


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", nargs="?", const="0.0.0.0,::", default="127.0.0.1", metavar="IP",
        help="address to listen on, or several separated by commas (127.0.0.1; without a value, every address)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8188, help="port to listen on (8188; 0 picks a free one)")
    parser.add_argument("--max-upload-size", type=float, default=100.0, help="largest upload in MB (100)")
    parser.add_argument("--cpu", action="store_true", help="say in /system_stats that the device is the CPU")
    parser.add_argument("--disable-metadata", action="store_true", help="save no prompt in the files")
    parser.add_argument(
        "--preview-method", choices=("none", "auto", "latent2rgb", "taesd"), default="none",
        help="send pictures while a sampler works, unless none (none)",
    )  # fmt: skip
    parser.add_argument("--preview-size", type=int, default=512, help="longest side of such a picture (512)")
    parser.add_argument("--cache-lru", type=int, default=0, help="remember that many results (only the last prompt's)")
    parser.add_argument("--cache-none", action="store_true", help="remember no results")
    parser.add_argument("--quick-test-for-ci", action="store_true", help="end before listening")
    parser.add_argument("--verbose", nargs="?", const="DEBUG", default="INFO", choices=VERBOSITIES)


def _add_folder_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base-directory", metavar="DIR",
        help="holds models, custom_nodes, input, output, temp and user (a temporary folder)",
    )  # fmt: skip
    for kind in ("output", "input", "temp", "user"):
        parser.add_argument(f"--{kind}-directory", metavar="DIR", help=f"instead of the {kind} folder below it")
    parser.add_argument(
        "--extra-model-paths-config", nargs="+", action="append", default=[], metavar="FILE",
        help="YAML files that name more model folders",
    )  # fmt: skip


def _add_emulator_flags(parser: argparse.ArgumentParser) -> None:
    names = "; ".join(f"{name}: {meaning}" for name, (_, meaning) in FAULTS.items())
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME[=NUMBER]",
        help=f"misbehave; repeatable. {names}".replace("%", "%%"),
    )  # fmt: skip
    parser.add_argument("--start-delay", type=float, default=0.0, help="seconds before it listens (0)")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="seconds for each sampling step (0)")
