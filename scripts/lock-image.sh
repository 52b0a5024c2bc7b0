#!/usr/bin/env bash
# Resolve anew what the image installs and write image/*.lock: exact versions and hashes, for its Python and Linux.
# Run it after scripts/lock.sh, and when ComfyUI's version changes.
# usage: scripts/lock-image.sh REQUIREMENTS [uv options, for example --upgrade]
#        REQUIREMENTS is the path or address of ComfyUI's requirements.txt
set -Eeuo pipefail
cd "$(dirname "$0")/.."

# usage: lock NAME [uv options] REQUIREMENTS
lock() {
	local name="$1"
	shift
	.venv/bin/uv pip compile --quiet --python-version 3.13 --python-platform x86_64-manylinux_2_28 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file "image/$name.lock" "$@"
}

main() {
	local comfyui="$1"
	shift
	lock worker "$@" --constraint requirements.lock --extra runpod pyproject.toml
	lock tools "$@" --constraint requirements.lock <(sed -n 's/^requires = \["\(hatchling.*\)"\]/\1/p' pyproject.toml) \
		<(printf '%s\n' uv comfy-cli)
	# torch is another for each line of CUDA, and what ComfyUI pins itself must follow its version.
	lock comfyui "$@" --constraint image/worker.lock \
		--override <(printf '%s; python_version < "3"\n' torch torchvision torchaudio) \
		--no-emit-package comfyui-frontend-package --no-emit-package comfyui-workflow-templates \
		--no-emit-package comfyui-embedded-docs "$comfyui"
	# The three must be of one CUDA line and import together: 2.11.0 is torchaudio's newest.
	lock torch-cu130 "$@" --constraint image/comfyui.lock \
		<(printf '%s\n' torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0)
	lock torch-cu128 "$@" --constraint image/comfyui.lock \
		<(printf '%s\n' torch==2.10.0 torchvision==0.25.0 torchaudio==2.10.0)
}

main "$@"
