# Finds a Go that is new enough, or gets one as an ordinary module. Source it after lib.sh.
# shellcheck shell=bash

readonly GO_NEEDED=1.26.3 # the newest `go` line of the locks
readonly GO_FETCHED=1.26.8

# use_go: puts a new enough `go` first on PATH and sets its environment for reproducible builds in our cache.
use_go() {
    [ -z "${SLIPWAY_GO_READY:-}" ] || return 0
    mkdir -p "$SLIPWAY_CACHE/go/tmp" "$SLIPWAY_LOGS"
    export GOMODCACHE="$SLIPWAY_CACHE/go/mod" GOCACHE="$SLIPWAY_CACHE/go/build" GOTMPDIR="$SLIPWAY_CACHE/go/tmp"
    export GOFLAGS="-buildvcs=false -modcacherw -trimpath" GOTOOLCHAIN=local GOWORK=off
    # The compiler is itself a Go program that lives for a second: collecting its garbage is a fifth of its work.
    export GOGC="${GOGC:-800}"
    if ! new_enough go; then
        apt_install go=golang-go
        new_enough go || fetch_go
    fi
    SLIPWAY_GO_READY=1
}

new_enough() {
    local version
    version="$("$1" env GOVERSION 2>/dev/null)" || return 1
    printf '%s\n' "$GO_NEEDED" "${version#go}" | sort -VC
}

# Any Go can download a newer one: toolchains are published as versions of one module.
fetch_go() {
    local module root
    module="golang.org/toolchain@v0.0.1-go$GO_FETCHED.linux-$(dpkg --print-architecture)"
    root="$GOMODCACHE/$module"
    if [ ! -x "$root/bin/go" ]; then
        with_lock go-toolchain phase "download Go $GO_FETCHED" download_go "$module" "$root"
    fi
    PATH="$root/bin:$PATH"
    new_enough go || die "the downloaded Go $GO_FETCHED does not run; see $root"
}

download_go() {
    (cd "$SLIPWAY_CACHE/go" && GOFLAGS=-modcacherw go mod download "$1") >>"$SLIPWAY_LOGS/fetch.log" 2>&1 ||
        die "could not download Go $GO_FETCHED; install Go $GO_NEEDED or newer, or see $SLIPWAY_LOGS/fetch.log"
    chmod +x "$2"/bin/* "$2"/pkg/tool/*/* # modules carry no file modes
}
