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

# Removes what it is given when the script ends, however it ends.
declare -a on_exit_remove=()
remove_at_exit() {
    on_exit_remove+=("$@")
    trap 'rm -rf -- "${on_exit_remove[@]}"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
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
