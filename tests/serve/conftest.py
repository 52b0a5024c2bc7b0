"""The emulated RunPod, for a test of its own."""

from collections.abc import Iterator

import pytest

from emulators.runpod import RunPodEmulator


@pytest.fixture
def platform() -> Iterator[RunPodEmulator]:
    with RunPodEmulator() as emulator:
        yield emulator
