#!/usr/bin/env bash
# Start the container. The worker runs the models' download and ComfyUI side by side as its children and passes a stop
# signal on to both; arguments replace it: `docker run IMAGE bash` gives a shell, and Modal runs its own program.
set -Eeuo pipefail

if [ "$#" -gt 0 ]; then exec "$@"; fi
exec python -u "$(dirname "$(readlink -f "$0")")/handler.py"
