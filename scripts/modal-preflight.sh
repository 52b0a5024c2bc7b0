#!/usr/bin/env bash
# Look whether everything is there that a deployment to Modal needs; --help lists the options.
set -Eeuo pipefail
exec "$(dirname "$0")/modal_loop/run.sh" preflight "$@"
