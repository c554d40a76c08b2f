# Shared by the scripts under k8s/. Source it after `set -euo pipefail`.
# shellcheck shell=bash

SLIPWAY_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
SLIPWAY_CACHE="${SLIPWAY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/slipway}"
SLIPWAY_CLUSTER="${SLIPWAY_CLUSTER:-slipway}"
SLIPWAY_ENGINE_DIR="${SLIPWAY_ENGINE_DIR:-$SLIPWAY_CACHE/engine}" # not exported: it follows the cache, in children too
readonly SLIPWAY_ROOT SLIPWAY_CACHE SLIPWAY_CLUSTER SLIPWAY_ENGINE_DIR
readonly ENGINE_SOCKET="$SLIPWAY_ENGINE_DIR/docker.sock"
readonly KEPT_DATA="$SLIPWAY_ENGINE_DIR-data" # what is left of our engine when it does not run: images
readonly SLIPWAY_LOGS="$SLIPWAY_CACHE/logs"
readonly TIMINGS="$SLIPWAY_CACHE/timings.tsv"
export SLIPWAY_CACHE SLIPWAY_CLUSTER

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# phase "name" command...: shows the name and the elapsed time, and records it.
phase() {
    local name="$1" started=$SECONDS
    shift
    say "==> $name"
    "$@"
    record "$name" "$((SECONDS - started))"
}

# record "name" seconds: for a phase that measured itself.
record() {
    say "    $1: done in $2 s"
    mkdir -p "$SLIPWAY_CACHE"
    printf '%s\t%d\n' "$1" "$2" >>"$TIMINGS"
}

# with_progress "name" logfile command...: runs quietly into the log, shows a sign of life
# every 15 s, and the end of the log when the command fails.
with_progress() {
    local name="$1" log="$2" started=$SECONDS next=15 pid
    shift 2
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if ((SECONDS - started >= next)); then
            say "    $name: $((SECONDS - started)) s, $(wc -l <"$log") ${PROGRESS_UNIT:-lines in $log}"
            next=$((next + 15))
        fi
    done
    if ! wait "$pid"; then
        tail -n 30 "$log" >&2
        die "$name failed; the whole log is $log"
    fi
}

# with_lock name command...: one at a time for each name, over all processes.
with_lock() {
    local name="$1" lock="$SLIPWAY_CACHE/locks/$1.lock"
    shift
    mkdir -p "$SLIPWAY_CACHE/locks"
    (
        exec 9>"$lock"
        if ! flock -n 9; then
            say "    $name: waiting for another run that works on it"
            flock 9
        fi
        "$@"
    )
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "'$1' needs root; run as root or install sudo"
    fi
}

# apt_install command=package...: installs the packages whose command (or file) is missing.
apt_install() {
    local pair missing=()
    for pair in "$@"; do
        [ -e "${pair%%=*}" ] || have "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "these are missing and there is no apt-get to install them: ${missing[*]}"
    with_lock apt apt_get_install "${missing[@]}"
}

apt_get_install() {
    local log="$SLIPWAY_LOGS/apt.log"
    mkdir -p "$SLIPWAY_LOGS"
    say "    installing $*"
    {
        as_root apt-get -qq update || true # one broken extra source must not stop us
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
    } >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get could not install: $*"; }
}

# content_key path...: 16 hex digits over names and contents, independent of where the checkout is.
content_key() {
    local path
    for path in "$@"; do
        (cd "$(dirname "$path")" && find "$(basename "$path")" -type f | LC_ALL=C sort | xargs -d '\n' sha256sum)
    done | sha256sum | cut -c1-16
}

engine_is_ours() { [ -S "$ENGINE_SOCKET" ] && DOCKER_HOST="unix://$ENGINE_SOCKET" engine_answers; }
engine_answers() { have docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Puts what was built here first on PATH (only what the machine lacks is built), and points at our engine when it runs.
load_env() {
    case ":$PATH:" in
    *":$SLIPWAY_CACHE/bin:"*) ;;
    *) export PATH="$SLIPWAY_CACHE/bin:$PATH" ;;
    esac
    if engine_is_ours; then export DOCKER_HOST="unix://$ENGINE_SOCKET"; fi
}
