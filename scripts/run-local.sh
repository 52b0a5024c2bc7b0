#!/usr/bin/env bash
# Run all of comfyport on this machine: no GPU, no account. See scripts/run_local.py, or --help, for the options.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

extras=emulators
for argument in "$@"; do
	if [ "$argument" = --install-comfyui ]; then extras=emulators,comfyui; fi
done
scripts/setup.sh "$extras"
exec .venv/bin/python scripts/run_local.py "$@"
