#!/usr/bin/env bash
# Look, deploy to Modal, wait until it answers, send one job; --help lists the options.
set -Eeuo pipefail
exec "$(dirname "$0")/modal_loop/run.sh" deploy "$@"
