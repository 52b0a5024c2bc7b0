#!/usr/bin/env bash
# Make /opt/venv, with the torch that TORCH names: a lock (cu130, cu128), cpu for Debian's, or none.
set -Eeuo pipefail
cd "$(dirname "$0")"

# usage: apt_install PACKAGE...
apt_install() {
	apt-get update --quiet=2
	apt-get install --quiet=2 --yes --no-install-recommends "$@"
	rm -rf /var/lib/apt/lists/*
}

from_debian() {
	apt_install python3-torch python3-torchaudio python3-torchvision
	rm -rf /usr/lib/libtorch-test
	uv venv --seed --system-site-packages /opt/venv
	# uv does not see what the system has, and would install it again.
	printf '%s ; python_version < "3"\n' torch torchaudio torchvision >overrides.txt
}

from_lock() {
	uv venv --seed /opt/venv
	uv pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} --constraint "torch-$TORCH.lock" \
		torch torchaudio torchvision
	if [ "$TRITON" = true ]; then
		apt_install gcc libc6-dev python3-dev
	else
		remove_what_needs_a_compiler
	fi
}

# triton (640 MB) does nothing without a C compiler. Its metadata stays: without it, whoever installs something that
# asks for torch would bring it back.
remove_what_needs_a_compiler() {
	local packages
	packages="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	rm -rf "$packages/triton" "$packages/torch/include" "$packages"/nvidia/*/include
	find "$packages/nvidia" \( -name '*.a' -o -name '*.bc' \) -delete
}

# Whatever is installed later may not replace torch and what belongs to it.
write_constraints() {
	python -c 'from importlib.metadata import distributions
for name, version in sorted({(found.name, found.version) for found in distributions()}):
    if name.startswith(("torch", "triton", "nvidia-", "cuda-")):
        print(f"{name}=={version}")' >constraints.txt
}

main() {
	: >overrides.txt
	case "$TORCH" in
		none) uv venv --seed /opt/venv ;;
		cpu) from_debian ;;
		*) from_lock ;;
	esac
	if [ "$TORCH" != none ]; then python -c "import torch, torchaudio, torchvision"; fi
	write_constraints
	# pip comes without bytecode.
	python -m compileall -q /opt/venv
}

main
