#!/usr/bin/env bash
# Builds the real viam-server, or Viam's command line tool, for the end-to-end tests, once, and prints the path of the
# binary: build.sh [viam-server | viam-cli]
#
# stdout: the path, nothing else. stderr: progress.
# Environment: VIAM_SERVER, VIAM_CLI  a binary to use as it is; nothing is built
#              HOLDFAST_CACHE         where binaries are kept (default: $XDG_CACHE_HOME/holdfast)
# Exit codes:  0 done; 3 no usable Go; anything else: the build failed.
#
# The binary's name carries a hash of its sources, so a changed go.mod builds a new one. A lock lets
# one build run at a time, and the name exists only once the binary is complete.
set -euo pipefail

what="${1:-viam-server}"
case "$what" in
    viam-server) variable=VIAM_SERVER package=. ;;
    viam-cli) variable=VIAM_CLI package=go.viam.com/rdk/cli/viam ;;
    *) echo "build.sh builds viam-server or viam-cli, not $what." >&2; exit 1 ;;
esac

no_go() {
    echo "$1 Install Go $wanted or newer, or set $variable to a $what binary." >&2
    exit 3
}

given="${!variable:-}"
if [[ -n "$given" ]]; then
    if [[ ! -x "$given" ]]; then
        echo "$variable=$given is not an executable file." >&2
        exit 1
    fi
    echo "$given"
    exit 0
fi

cd "$(dirname "${BASH_SOURCE[0]}")"
cache="${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast}"
mkdir -p "$cache"
cache="$(cd "$cache" && pwd)"
hash="$(cat go.mod go.sum main.go | sha256sum | cut -c1-16)"
binary="$cache/$what-$hash"

if [[ -x "$binary" ]]; then
    echo "$binary"
    exit 0
fi

wanted="$(awk '$1 == "go" { print $2; exit }' go.mod)"
command -v go >/dev/null || no_go "The real $what can't be built: there is no Go."
# Asked outside the module and with the local toolchain, so that Go neither refuses nor downloads another.
found="$(cd / && GOTOOLCHAIN=local go env GOVERSION)"
found="${found#go}"
found="${found%%[!0-9.]*}"
if [[ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]]; then
    no_go "The real $what can't be built: Go is $found, go.mod asks for $wanted."
fi

exec {lock}>"$cache/$what.lock"
if ! flock --nonblock "$lock"; then
    echo "Waiting for another build of $what …" >&2
    flock "$lock"
fi
if [[ ! -x "$binary" ]]; then
    rm -f "$cache/$what"-*.partial
    trap 'rm -f "$binary.partial"' EXIT
    echo "Building $what (some minutes the first time) …" >&2
    CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly \
        go build -tags no_cgo -o "$binary.partial" "$package" >&2
    mv "$binary.partial" "$binary"
    echo "Built $binary." >&2
fi
echo "$binary"
