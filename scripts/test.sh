#!/usr/bin/env bash
# Set up what the tests need and run all of them: linters, types, imports, tests. Arguments go to pytest.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh emulators,modal,runpod,comfyui --group dev
export PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check --quiet .
shellcheck src/*.sh scripts/*.sh .ci/run
mypy
lint-imports
pytest --numprocesses auto "$@"
