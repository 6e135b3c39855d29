# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
# What every script here uses; source it: . "$(dirname "$0")/lib.sh"
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${VIOMMU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/libviommu}
build=${VIOMMU_BUILD:-$top/build}

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$@"
    exit 1
}

# What is cleared away when the script ends, however it ends.
declare -a exit_files=() exit_processes=()
clear_away() {
    local pid
    for pid in "${exit_processes[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf -- "${exit_files[@]}"
}

trap_exit() {
    trap clear_away EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

remove_at_exit() {
    exit_files+=("$@")
    trap_exit
}

kill_at_exit() {
    exit_processes+=("$@")
    trap_exit
}

# Makes $scratch, a fresh directory that goes away with the script.
make_scratch() {
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/viommu.XXXXXX")
    remove_at_exit "$scratch"
}

# newer_than TARGET SOURCE...: whether TARGET exists and no SOURCE is newer.
newer_than() {
    local target=$1 source
    shift
    [ -e "$target" ] || return 1
    for source in "$@"; do
        [ "$source" -nt "$target" ] && return 1
    done
    return 0
}

# As root directly, otherwise by sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo; run as root: $*"
    fi
}
