#!/usr/bin/env bash
# Make .venv with comfyport and everything it needs, at the versions and hashes of requirements.lock.
# usage: scripts/setup.sh EXTRAS [uv options]     e.g. scripts/setup.sh emulators
set -Eeuo pipefail
cd "$(dirname "$0")/.."

# usage: find_python
# Prints the first Python that comfyport runs on.
find_python() {
	for python in python3 python3.13 python3.12 python3.11; do
		if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
			echo "$python"
			return
		fi
	done
	echo "comfyport needs Python 3.11, 3.12 or 3.13. On Debian and Ubuntu: apt install python3 python3-venv" >&2
	return 1
}

# usage: is_there STAMP WORD...
# Whether an installation with this beginning of a stamp has all of these extras and options: nothing is done twice,
# and what somebody is using is not installed anew for less.
is_there() {
	local stamp="$1" made word
	shift
	for made in "$stamp"*; do
		for word in "$@"; do
			case "${made#"$stamp"}_" in *"_${word}_"*) ;; *) continue 2 ;; esac
		done
		if [ -e "$made" ]; then return; fi
	done
	return 1
}

main() {
	local extras="$1" stamp words parts
	shift
	words="$(echo "$extras $*" | tr -cs '[:alnum:]\n' _)"
	IFS=_ read -ra parts <<<"$words"
	stamp=".venv/.installed-$(cat requirements.lock pyproject.toml | cksum | tr ' ' -)-"
	if is_there "$stamp" "${parts[@]}"; then return; fi
	if [ ! -x .venv/bin/uv ]; then
		"$(find_python)" -m venv .venv || {
			echo "The venv module does not work. On Debian and Ubuntu: apt install python3-venv" >&2
			return 1
		}
		.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
			--requirement <(sed -n '/^uv==/,/[^\\]$/p' requirements.lock)
	fi
	VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --constraint requirements.lock --editable ".[$extras]" "$@"
	touch "${stamp}_$words"
}

main "$@"
