#!/usr/bin/env bash
# Installs what the tests, the demo and the benchmarks need of the system beside Go and git, and says what and why.
# Quick, and silent, when nothing is missing. Usage: integration/setup.sh [tests]
#
# It configures nothing: what a private Podman needs to run on this machine, integration/podmanhost writes into that
# host's own folder. No file of yours is changed.
set -euo pipefail

missing=() # Debian packages
why=()
need() { # need PACKAGE REASON COMMAND...: one of the commands, or of the files, must be there
	local package=$1 reason=$2 found
	shift 2
	for found in "$@"; do
		if [[ $found == /* ]]; then [[ -e $found ]] && return; else command -v "$found" >/dev/null && return; fi
	done
	missing+=("$package")
	why+=("$package: $reason")
}

export PATH=$PATH:/usr/sbin:/sbin
need podman "runs the containers" podman
need netavark "sets up their networks and published ports" /usr/lib/podman/netavark /usr/libexec/podman/netavark
need aardvark-dns "names in those networks" /usr/lib/podman/aardvark-dns /usr/libexec/podman/aardvark-dns
need iptables "netavark publishes ports with it" iptables
need iproute2 "removes the network of a private Podman host" ip
if grep -q ' cgroup ' /proc/self/mounts; then
	need runc "crun does not run containers where cgroups of version 1 are mounted, as here" runc
else
	need crun "starts the containers" crun runc
fi
if [[ $(go env CC) == gcc ]]; then
	need gcc "Go's race detector needs a C compiler" gcc
	need libc6-dev "and its headers" /usr/include/stdlib.h
fi
if [[ ${1-} == tests ]]; then # what no demo needs
	need e2fsprogs "makes the ext4 file systems whose power is cut" mkfs.ext4
	need xfsprogs "makes the XFS file systems whose power is cut" mkfs.xfs
	need age "opens what the agent has sealed, and seals what it is to open" age
	need zstd "reads compressed backups" zstd
	need jq "reads backups" jq
	need openssh-client "makes SSH keys to seal for" ssh-keygen
	need chromium-driver "drives the browser that looks at the agent's page" chromedriver
	need strace "makes single calls of a program that tests the log end in an error" strace
	need uidmap "an ordinary user's containers have users of their own by it" newuidmap
	need slirp4netns "and their network" slirp4netns pasta
	need nginx-light "what the ingress is measured against" /usr/sbin/nginx
	need systemd "runs the agent's unit, as the first process of a machine of its own" /lib/systemd/systemd
	need curl "asks Services and Ingresses on that machine" curl
	need bind9-dnsutils "asks the agent for names, as people do" dig
	need nftables "looks at the rules of virtual addresses, and makes rules of others beside them" nft
	need prometheus "scrapes agents, and checks and tests the alerts" prometheus promtool
fi

if ((${#missing[@]} > 0)); then
	echo "missing on this machine:"
	printf '  %s\n' "${why[@]}"
	install="apt-get install --yes --no-install-recommends ${missing[*]}"
	if ! command -v apt-get >/dev/null; then
		echo "This is not Debian, nor like it: install the above (the names are Debian's) in this system's way." >&2
		exit 1
	fi
	if ((EUID != 0)); then
		echo "Installing needs root. Run this, then try again: sudo $install" >&2
		exit 1
	fi
	echo "installing: $install"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update --quiet=2
	$install --quiet=2 >/dev/null
	if [[ " ${missing[*]} " == *" prometheus "* && -d /run/systemd/system ]]; then # the tests start their own, and this machine asked for none
		systemctl disable --quiet --now prometheus
	fi
	if [[ " ${missing[*]} " == *" nginx-light "* && -d /run/systemd/system ]]; then
		systemctl disable --quiet --now nginx
	fi
fi

if ((EUID != 0)); then
	echo "Private Podman hosts need root, for namespaces and mounts of their own: run this as root." >&2
	exit 1
fi
