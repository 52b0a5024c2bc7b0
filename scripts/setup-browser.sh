#!/usr/bin/env bash
# Make this machine ready to test the status page in a browser: a Chromium or Chrome that is there, else Debian's
# package. Where that cannot be, it ends with 1 and says why.
set -Eeuo pipefail

# usage: cannot REASON
cannot() {
	echo "setup-browser: $1" >&2
	exit 1
}

main() {
	local name
	for name in chromium google-chrome google-chrome-stable chromium-browser; do
		if command -v "$name" >/dev/null; then return; fi
	done
	command -v apt-get >/dev/null || cannot "there is no Chromium, and no apt-get to install it"
	[ "$(id -u)" -eq 0 ] || cannot "there is no Chromium, and installing it needs root"
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
		chromium fonts-dejavu-core >/dev/null || cannot "Chromium could not be installed"
}

main
