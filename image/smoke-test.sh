#!/usr/bin/env bash
# Import ComfyUI with all its nodes, without a GPU. It ends with 0 even when nodes could not be imported; its log tells.
set -Eeuo pipefail

scratch="$(mktemp --directory)"
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/user"
python /opt/ComfyUI/main.py --cpu --quick-test-for-ci --user-directory "$scratch/user" \
	--database-url "sqlite:///$scratch/comfyui.db" --temp-directory "$scratch" --output-directory "$scratch" \
	--input-directory "$scratch" 2>&1 | tee "$scratch/log"
if grep --quiet --ignore-case --extended-regexp 'import failed|cannot import|traceback|failed to initialize|^error' "$scratch/log"; then
	echo "ComfyUI or its nodes could not be imported; the log is above." >&2
	exit 1
fi
