"""An SDK that is not the one we know is left to its own pace."""

import signal
from collections.abc import Callable
from pathlib import Path

from emulators.runpod import RunPodEmulator
from emulators.runpod.sdk_copy import changed_sdk
from tests import workflows
from tests.conftest import ROOT, Container

START = ROOT / "src" / "start.sh"
UNKNOWN = "is not as it is known here"


def test_the_sdk_that_is_pinned_is_known(platform: RunPodEmulator, start: Callable[..., Container]):
    container = start(START, **platform.environment())
    platform.wait(platform.submit({"workflow": workflows.scaled()}), timeout=60)

    container.end(signal.SIGTERM)

    assert UNKNOWN not in container.output


def test_another_sdk_is_left_as_it_is_and_works(start: Callable[..., Container], tmp_path: Path):
    with RunPodEmulator() as platform:
        container = start(START, **platform.environment(), PYTHONPATH=str(changed_sdk(tmp_path / "sdk")))

        answer = platform.wait(platform.submit({"workflow": workflows.scaled()}), timeout=60)

        assert container.end(signal.SIGTERM, within=10) == 0
    assert answer["status"] == "COMPLETED"
    assert container.output.count(UNKNOWN) == 1
    # The stock scaler's own words.
    assert "Jobs in queue: 1" in container.output
