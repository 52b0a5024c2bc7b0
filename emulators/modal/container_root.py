"""Runs a program in a root directory of its own making: folders and files bound at the paths it expects.

A script, run as `python -I -S container_root.py PLAN.json PROGRAM...`; it imports nothing from the package.
The plan is `{"root": DIR, "cwd": PATH, "hide": [PATH...], "bind": {PATH: SOURCE...}}`. In a mount namespace
of this process, DIR becomes a tmpfs that shows everything the machine's root shows, except that each PATH of
`bind` shows SOURCE and each PATH of `hide` starts empty. Nothing on the machine itself changes.
Ends with 125 when the system does not allow it. Linux only; without root it takes a user namespace.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, SIGKILL = 1, 9
NOT_ALLOWED = 125

libc = ctypes.CDLL(None, use_errno=True)


class Node:
    """One path in the new root: what it shows, and the paths below it that differ from the machine's."""

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.source: Path | None = None
        self.hidden = False


def plant(top: Node, path: str) -> Node:
    """The node for `path`, made with its parents when missing."""
    node = top
    for part in path.strip("/").split("/"):
        node = node.children.setdefault(part, Node())
    return node


def grow(node: Node, machine: Path, target: Path) -> None:
    """Fills the folder `target`: the machine's entries bound as they are, the planned ones as planned."""
    names = set(node.children)
    if not node.hidden and machine.is_dir():
        names.update(entry.name for entry in machine.iterdir())
    for name in sorted(names):
        child = node.children.get(name)
        if child is None:
            show(machine / name, target / name)
        elif child.source is not None:
            show(child.source, target / name)
        else:
            (target / name).mkdir()
            grow(child, (machine / name).resolve(), target / name)


def show(source: Path, target: Path) -> None:
    """Makes `source` visible at `target`; links are copied as links."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir()
        mount(str(source), str(target), None, MS_BIND | MS_REC)
    elif source.exists():
        target.touch()
        mount(str(source), str(target), None, MS_BIND)


def check(result: int, action: str) -> None:
    """Raises what the C library reports."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{action}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """mount(2)."""
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    check(libc.mount(*names, ctypes.c_ulong(flags), None), f"mount {source} at {target}")


def leave_machine() -> None:
    """Enters a mount namespace of our own, as root or through a user namespace."""
    user, group = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWNS | (0 if user == 0 else CLONE_NEWUSER)), "unshare")
    if user != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def main(plan_path: str, program: list[str]) -> NoReturn:
    """Builds the root, enters it, and becomes the program."""
    plan = json.loads(Path(plan_path).read_text())
    top = Node()
    for path in plan["hide"]:
        plant(top, path).hidden = True
    for path, source in plan["bind"].items():
        plant(top, path).source = Path(source)
    # A container must not outlive the emulator, whatever ends it.
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
    try:
        leave_machine()
        mount("tmpfs", plan["root"], "tmpfs", 0)
        grow(top, Path("/"), Path(plan["root"]))
    except OSError as error:
        sys.stderr.write(f"no root directory of its own: {error}\n")
        sys.exit(NOT_ALLOWED)
    os.chroot(plan["root"])
    os.chdir(plan["cwd"])
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
