"""`python -m emulators.hub`: serves the quickstart catalogue, or a folder, until it is interrupted."""

import argparse
from pathlib import Path

from emulators.hub.content import Content
from emulators.hub.emulator import HubEmulator
from emulators.hub.faults import FAULT_NAMES, Fault
from emulators.hub.quickstart import quickstart_civitai, quickstart_files, quickstart_repos
from emulators.server import serve_until_interrupted

_MIB = 1024 * 1024


def main() -> None:
    """Reads the command line and serves."""
    options = _parser().parse_args()
    quickstart = options.quickstart or options.folder is None
    files: dict[str, bytes | Path | Content] = {}
    if options.folder is not None:
        files |= _files_below(options.folder)
    if quickstart:
        files |= quickstart_files()
    server = HubEmulator(
        repos=quickstart_repos() if quickstart else {},
        civitai=quickstart_civitai() if quickstart else {},
        files=files,
        tokens=options.token,
        faults=options.fault,
        rate=options.rate * _MIB if options.rate is not None else None,
        port=options.port,
        cdn_port=options.cdn_port,
    )
    serve_until_interrupted(server, "Hugging Face, Civitai and a file host, emulated, at", url_file=options.url_file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.hub",
        description="Plays the Hugging Face Hub, Civitai and a plain file host on loopback.",
    )
    parser.add_argument("--port", type=int, default=0, help="where to listen (default: a free port)")
    parser.add_argument("--cdn-port", type=int, default=0, help="where signed URLs lead (default: a free port)")
    parser.add_argument(
        "--quickstart",
        action="store_true",
        help="serve the quickstart catalogue (the default without --folder)",
    )
    parser.add_argument("--folder", type=Path, help="serve the files of this folder below /files/")
    parser.add_argument(
        "--token", action="append", default=[], help="a token that the Hub and Civitai know; repeatable"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        type=_fault,
        metavar="NAME[:TIMES]",
        help="what goes wrong with each file, once, TIMES times or 'always'; repeatable. One of: "
        + ", ".join(FAULT_NAMES),
    )
    parser.add_argument("--rate", type=float, metavar="MIB", help="MiB/s for each connection")
    parser.add_argument("--url-file", type=Path, help="a file that receives the URL once it listens")
    return parser


def _fault(text: str) -> Fault:
    name, _, times = text.partition(":")
    known = next((known for known in FAULT_NAMES if known == name), None)
    if known is None:
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}; choose from {', '.join(FAULT_NAMES)}")
    if times == "always":
        return Fault(known, times="always")
    if times and not times.isdecimal():
        raise argparse.ArgumentTypeError(f"{times!r} is neither a number nor 'always'")
    return Fault(known, times=int(times or "1"))


def _files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
