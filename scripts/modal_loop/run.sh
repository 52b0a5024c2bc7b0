#!/usr/bin/env bash
# Run a module of this folder with a Python that has modal: yours, or else that of .venv, which is made if need be.
# usage: scripts/modal_loop/run.sh MODULE [ARGUMENT...]
set -Eeuo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"

# usage: has_modal PYTHON
has_modal() {
	"$1" -c 'import sys; from importlib.util import find_spec; sys.exit(sys.version_info < (3, 11) or not find_spec("modal"))' \
		2>/dev/null
}

python=python3
if ! has_modal "$python"; then
	python="$root/.venv/bin/python"
	has_modal "$python" || "$root/scripts/setup.sh" modal
fi
export PYTHONPATH="$root:$root/src${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m "scripts.modal_loop.$1" "${@:2}"
