"""Downloads the same files from loopback with comfyport and with other tools, and prints what each took.

usage: python -m bench.downloads [--quick]     see README.md
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import content, measure
from bench.content import GIB, MIB, File
from bench.measure import Usage
from bench.server import Host, Hosts, nginx, serving
from bench.tables import Row, Scenario, download_targets, scenario_table, target_table
from bench.terminal import count, in_folder, say, show
from bench.tools import Tool, all_tools, bare_environment

SCENARIOS = ("one-uncapped", "many-uncapped", "one-capped", "many-capped")
RATE_MIB = 40
QUICK_MIB = 128


@dataclass(frozen=True)
class Course:
    """Something to download from somewhere, by every tool."""

    key: str
    heading: str
    files: tuple[File, ...]
    host: Host


class Bench:
    """Runs tools over courses, in a folder of its own."""

    def __init__(self, folder: Path, source: Path, *, runs: int, warm_up: bool, time_limit: float) -> None:
        self._folder = folder
        self._source = source
        self._runs = runs
        self._warm_up = warm_up
        self._time_limit = time_limit

    def measure(self, course: Course, tools: Sequence[Tool]) -> Scenario:
        """Runs every tool in turn, and that several times, so that what else the machine does hits all alike."""
        for file in course.files:
            content.read_through(self._source / file.name)
        runs: dict[str, list[Usage]] = {tool.name: [] for tool in tools}
        for turn in range(self._runs + self._warm_up):
            for tool in tools:
                if tool.program is None:
                    continue
                usage = self._run(tool, tool.program, course)
                say(f"{course.key}: {tool.name}: {usage.problem or f'{usage.seconds:.2f} s'}")
                if turn or not self._warm_up:
                    runs[tool.name].append(usage)
        rows = tuple(Row(tool.name, tuple(runs[tool.name]), missing=tool.program is None) for tool in tools)
        return Scenario(course.key, course.heading, sum(file.size for file in course.files), rows)

    def _run(self, tool: Tool, program: str, course: Course) -> Usage:
        place, home = self._folder / "place", self._folder / "home"
        for folder in (place, home):
            folder.mkdir()
        log = self._folder / "output.log"
        try:
            job = tool.job(program, course.files, course.host, place)
            environment = bare_environment(home) | job.environment
            # No run shall wait for what an earlier one, or somebody else, has left to be written to the disk.
            os.sync()
            content.touch_memory(self._folder, sum(file.size for file in course.files))
            usage = measure.run(
                job.commands, environment=environment, folder=place, log=log, time_limit=self._time_limit
            )
            if usage.problem:
                say(f"the end of what {tool.name} said:\n{measure.tail(log)}")
            elif not all(content.is_right(job.outputs / file.name, file) for file in course.files):
                usage = replace(usage, problem="wrong bytes")
            return usage
        finally:
            for folder in (place, home):
                shutil.rmtree(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit status."""
    options = _options(arguments)
    return in_folder(options.folder, lambda folder: _report(folder, options))


def _report(folder: Path, options: argparse.Namespace) -> None:
    nginx()
    source = folder / "content"
    source.mkdir()
    one, many = options.size * MIB, options.many * MIB * options.files
    content.check_space(folder, one + many + max(one, many))
    say("writing the files to download")
    big = content.make(source, "model.bin", options.size * MIB)
    small = [content.make(source, f"model-{n}.bin", options.many * MIB) for n in range(1, options.files + 1)]
    tools = [tool for tool in all_tools() if not options.tools or tool.name in options.tools]
    bench = Bench(folder, source, runs=options.runs, warm_up=options.warm_up, time_limit=options.time_limit)
    scenarios: dict[str, Scenario] = {}
    with serving(source, [big, *small], rate=options.rate, folder=folder / "nginx") as hosts:
        for course in _courses(big, small, hosts, options.rate):
            if not options.scenarios or course.key in options.scenarios:
                scenarios[course.key] = bench.measure(course, tools)
                show(scenario_table(scenarios[course.key], hidden_below=measure.own_peak_bytes()))
    show(target_table(download_targets(scenarios)))


def _courses(big: File, small: Sequence[File], hosts: Hosts, rate: int) -> list[Course]:
    one = f"One file of {_amount(big.size)}"
    many = f"{len(small)} files of {_amount(small[0].size)}"
    capped = f"at {rate} MiB/s per connection"
    return [
        Course("one-uncapped", f"{one}, uncapped", (big,), hosts.uncapped),
        Course("many-uncapped", f"{many}, uncapped", tuple(small), hosts.uncapped),
        Course("one-capped", f"{one}, {capped}", (big,), hosts.capped),
        Course("many-capped", f"{many}, {capped}", tuple(small), hosts.capped),
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.downloads", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=count, default=2048, metavar="MIB", help="the one file's size (2048)")
    parser.add_argument("--many", type=count, default=256, metavar="MIB", help="the size of each of several (256)")
    parser.add_argument("--files", type=count, default=8, metavar="N", help="how many those are (8)")
    parser.add_argument(
        "--rate", type=count, default=RATE_MIB, metavar="MIB", help=f"a capped connection's MiB/s ({RATE_MIB})"
    )
    parser.add_argument("--runs", type=count, default=3, metavar="N", help="runs of each tool (3)")
    parser.add_argument("--warm-up", action="store_true", help="one more run first, which does not count")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MIB} MiB a scenario, one run: for a first look")
    parser.add_argument("--tools", nargs="+", choices=[tool.name for tool in all_tools()], help="these alone")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, help="these alone")
    parser.add_argument("--folder", type=Path, help="where to work: a real disk (the temporary folder)")
    parser.add_argument("--time-limit", type=float, default=600, metavar="S", help="seconds for one program (600)")
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(size=QUICK_MIB, many=max(1, QUICK_MIB // options.files), runs=1)
        return parser.parse_args(arguments)
    return options


def _amount(size: int) -> str:
    return f"{size / GIB:g} GiB" if size >= GIB else f"{size / MIB:g} MiB"


if __name__ == "__main__":
    sys.exit(main())
