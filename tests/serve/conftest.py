"""Workers of RunPod's SDK in processes of their own, against the emulated platform."""

import sys
from collections.abc import Callable, Iterator

import pytest

from emulators.runpod import RunPodEmulator
from tests.conftest import ROOT, Container


@pytest.fixture
def platform() -> Iterator[RunPodEmulator]:
    with RunPodEmulator() as emulator:
        yield emulator


@pytest.fixture
def start_paced(start: Callable[..., Container]) -> Callable[..., Container]:
    """Starts a worker whose jobs do what their input says (tests/serve/paced_worker.py)."""

    def start_worker(platform: RunPodEmulator, **environ: str) -> Container:
        environ = {"PYTHONPATH": str(ROOT), **platform.environment(), **environ}
        return start(sys.executable, "-m", "tests.serve.paced_worker", **environ)

    return start_worker


@pytest.fixture
def paced(platform: RunPodEmulator, start_paced: Callable[..., Container]) -> Container:
    """Such a worker of `platform`."""
    return start_paced(platform)
