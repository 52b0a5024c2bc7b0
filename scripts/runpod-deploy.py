"""Puts comfyport on RunPod: network volume, template, serverless endpoint. See --help and docs/runpod.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.runpod_deploy.main import main

if __name__ == "__main__":
    sys.exit(main())
