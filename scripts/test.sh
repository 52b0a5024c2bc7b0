#!/usr/bin/env bash
# Set up what the tests need and run all of them: linters, types, imports, tests. Arguments go to pytest.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh emulators,modal,runpod,comfyui --group dev
# Without them the tests of the image and of the page are skipped, each with this reason; in CI they fail.
scripts/setup-containers.sh || echo "The image is not built and not tested here."
scripts/setup-browser.sh || echo "The status page is not tested in a browser here."
export PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check --quiet .
shellcheck src/*.sh scripts/*.sh scripts/*/*.sh image/*.sh .ci/run
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
mypy
lint-imports
# Many tests start real programs, and on a busy machine one may run out of time. What fails is shown, and asked once more,
# alone: whoever is at fault fails again.
pytest --numprocesses auto "$@" || pytest --last-failed --last-failed-no-failures none
