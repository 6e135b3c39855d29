# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# An apt that knows another suite than this machine's: source it behind lib.sh. Its lists and cache are in
# the cache directory; Debian's archive keyring says whether what it gets is genuine.
# VIOMMU_DEBIAN_MIRROR is the mirror that it asks.

debian_mirror=${VIOMMU_DEBIAN_MIRROR:-http://deb.debian.org/debian}
debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# choose_apt SUITE [ANOTHER]: sets apt_options and apt_suite; "" is the machine's own apt.
choose_apt() {
    local dir
    apt_suite=$1
    apt_options=(-q=2 -o APT::Sandbox::User=root)
    [ -n "$apt_suite" ] || return 0
    [ -r "$debian_keyring" ] ||
        die "there is no $debian_keyring to check the suite $apt_suite with; run scripts/setup"
    dir=$cache/apt/$apt_suite
    mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
    printf "deb [signed-by=$debian_keyring arch=amd64] $debian_mirror %s main\n" "$@" >"$dir/sources.list"
    apt_options+=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State=$dir/state" -o "Dir::Cache=$dir/cache" -o APT::Update::Error-Mode=any)
}

refresh_lists() {
    if [ -n "$apt_suite" ]; then
        apt-get "${apt_options[@]}" update ||
            die "apt-get cannot read the suite $apt_suite of $debian_mirror; see whether the mirror can be" \
                "reached, or name another by VIOMMU_DEBIAN_MIRROR"
    else
        as_root apt-get "${apt_options[@]}" update
    fi
}
