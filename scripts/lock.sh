#!/usr/bin/env bash
# Resolve every dependency anew and write requirements.lock (exact versions and hashes, for all Pythons and systems).
# usage: scripts/lock.sh [uv options, for example --upgrade]
set -Eeuo pipefail
cd "$(dirname "$0")/.."

exec .venv/bin/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock "$@"
