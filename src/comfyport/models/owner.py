"""Which process holds something, and whether it still lives."""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """A process, told from every other one: `started` is in clock ticks since its machine booted."""

    host: str
    boot: str
    namespace: int
    pid: int
    started: int

    @classmethod
    def me(cls) -> "Owner":
        """This process. What the system does not tell is empty or 0."""
        boot, namespace = "", 0
        with suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            namespace = Path("/proc/self/ns/pid").stat().st_ino
        state = _process_state("self")
        return cls(os.uname().nodename, boot, namespace, os.getpid(), state[1] if state else 0)

    @classmethod
    def from_json(cls, content: Any) -> "Owner":
        """The owner that `as_json` wrote. Raises ValueError."""
        kinds = {"host": str, "boot": str, "namespace": int, "pid": int, "started": int}
        if not isinstance(content, dict) or any(type(content.get(name)) is not kind for name, kind in kinds.items()):
            raise ValueError("not an owner")
        if content["pid"] < 1:
            raise ValueError("not a process id")
        return cls(**{name: content[name] for name in kinds})

    def as_json(self) -> dict[str, Any]:
        """The owner as it stands in a lease file."""
        return asdict(self)

    def is_dead(self) -> bool | None:
        """Whether the process has ended; None if that cannot be seen from here, as from another container."""
        me = Owner.me()
        here = (me.host, me.boot, me.namespace)
        if not all(here) or (self.host, self.boot, self.namespace) != here:
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            # It exists and is another user's, whose state may be hidden from us.
            pass
        state = _process_state(str(self.pid))
        return state and (state[0] in "ZX" or state[1] != self.started)


def _process_state(pid: str) -> tuple[str, int] | None:
    """State letter and start, in clock ticks since boot, of a process: fields 3 and 22 of proc_pid_stat(5)."""
    try:
        # The name of the program, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
