#!/usr/bin/env bash
# Runs each fuzz target for a while. Usage: [FUZZTIME=10s] integration/fuzz.sh
set -euo pipefail
cd "$(dirname "$0")/.."

ran=0
while IFS=: read -r file target; do
	echo "fuzz $target in ${file%/*} for ${FUZZTIME:=10s}"
	# By itself Go spends up to a minute on making each input that it finds shorter, and hardly tries others.
	go test -run='^$' -fuzz="^$target\$" -fuzztime="$FUZZTIME" -fuzzminimizetime=10x "./${file%/*}"
	ran=$((ran + 1))
done < <(git ls-files --cached --others --exclude-standard '*_test.go' |
	xargs -r grep -HoE '^func Fuzz\w+' | sed 's/:func /:/')

if ((ran == 0)); then
	echo "fuzz: no targets found" >&2
	exit 1
fi
echo "fuzz: $ran targets, ok"
