"""What the tests of the measurements share."""

import subprocess
import sys

import pytest

from bench import CannotMeasureError
from bench.server import nginx
from tests.conftest import ROOT


def _has_nginx() -> bool:
    try:
        nginx()
    except CannotMeasureError:
        return False
    return True


needs_nginx = pytest.mark.skipif(not _has_nginx(), reason="nginx is not installed")


def run_bench(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a measurement as a person does."""
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
