#!/usr/bin/env bash
# Make this machine ready to build the image and run it without a Docker daemon or a registry: buildah, podman and runc
# from Debian's packages, and debian:trixie-slim made by debootstrap. Where that cannot be, it ends with 1 and says why.
set -Eeuo pipefail

readonly BASE=docker.io/library/debian:trixie-slim
readonly MIRROR="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"

# usage: cannot REASON
cannot() {
	echo "setup-containers: $1" >&2
	exit 1
}

install_tools() {
	local tool missing=()
	for tool in buildah podman runc debootstrap; do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	if [ "${#missing[@]}" -eq 0 ]; then return; fi
	command -v apt-get >/dev/null || cannot "${missing[*]} must be installed, and there is no apt-get to do it"
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
		debian-archive-keyring "${missing[@]}" >/dev/null
}

# usage: make_base FOLDER
# Debian as its slim image is: without documents and translations, packages included that are installed later.
make_base() {
	local root="$1/root" documents=(doc info linda lintian/overrides locale man) name
	debootstrap --variant=minbase trixie "$root" "$MIRROR" >"$1/log" || cannot "debootstrap failed: $(tail -n 3 "$1/log")"
	rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
	for name in "${documents[@]}"; do
		rm -rf "${root:?}/usr/share/$name"
		echo "path-exclude /usr/share/$name/*"
	done >"$root/etc/dpkg/dpkg.cfg.d/docker"
	cat >"$root/etc/apt/apt.conf.d/docker-clean" <<-'END'
		DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
		Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
	END
	tar --directory "$root" --exclude './dev/*' --create . | podman import --quiet - "$BASE" >/dev/null
}

main() {
	local folder
	[ "$(id -u)" -eq 0 ] || cannot "it needs root: debootstrap, and containers without a daemon"
	install_tools
	if podman image exists "$BASE"; then return; fi
	folder="$(mktemp --directory --tmpdir=/var/tmp)"
	# shellcheck disable=SC2064 # the folder as it is called now
	trap "rm -rf '$folder'" EXIT
	make_base "$folder"
}

main
