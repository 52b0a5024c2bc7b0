#!/usr/bin/env bash
# Find out why a deployment on Modal does not work, cheapest question first; --help lists the options.
set -Eeuo pipefail
exec "$(dirname "$0")/modal_loop/run.sh" diagnose "$@"
