#!/usr/bin/env bash
# Run all of comfyport on this machine: no GPU, no account. See scripts/run_local.py, or --help, for the options.
set -Eeuo pipefail
here="$(dirname "$0")"

extras=emulators
for argument in "$@"; do
	if [ "$argument" = --install-comfyui ]; then extras=emulators,comfyui; fi
done
"$here/setup.sh" "$extras"
exec "$here/../.venv/bin/python" "$here/run_local.py" "$@"
