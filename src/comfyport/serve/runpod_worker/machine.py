"""RunPod's own checks of a machine (GPU, CUDA, memory, disk, network), run as a program beside ComfyUI's start.

Inside the worker they would cost their time after ComfyUI's start, and torch, which they import, would hold memory of
the GPU for as long as the worker lives.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from typing import Self

SKIP = ("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "RUNPOD_SKIP_GPU_CHECK")
# The worker reports a failure itself; and with an endpoint's id the program would write JSON.
KEPT_FROM_IT = ("RUNPOD_WEBHOOK_PING", "RUNPOD_ENDPOINT_ID")
LONGEST_SECONDS = 180.0


class MachineUnfit(Exception):
    """A check of RunPod's failed; its SDK reports this to the platform."""


class MachineCheck:
    """The checks, under way from the beginning."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in environ.items() if name not in KEPT_FROM_IT},
        )

    @classmethod
    def begin(cls, environ: Mapping[str, str]) -> Self | None:
        """The checks, unless `environ` leaves none of them."""
        return cls(environ) if any(environ.get(name, "").lower() != "true" for name in SKIP) else None

    async def passed(self) -> None:
        """Returns when all have passed. Raises MachineUnfit."""
        try:
            output, _ = await asyncio.to_thread(self._program.communicate, timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            raise MachineUnfit(f"RunPod's checks did not end within {LONGEST_SECONDS:g} s") from None
        text = output.decode(errors="replace")
        sys.stdout.write(text)
        if status := self._program.returncode:
            failed = re.search(r"Fitness check failed: (.*)", text)
            raise MachineUnfit(failed[1] if failed else f"RunPod's checks ended with {status}")

    def end(self) -> None:
        """Kills what still runs."""
        self._program.kill()
        self._program.wait()


def leave_out(environ: MutableMapping[str, str]) -> None:
    """Keeps the SDK from running them in this process as well."""
    environ.update(dict.fromkeys(SKIP, "true"))


def main() -> None:
    """Runs the checks of an SDK that we know; any other runs its own as it likes. Ends with 1 at the first failure."""
    from runpod.serverless.modules.rp_fitness import run_fitness_checks

    from comfyport.serve.runpod_worker import sdk

    if sdk.is_known():
        asyncio.run(run_fitness_checks())


if __name__ == "__main__":
    main()
