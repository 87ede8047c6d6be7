#!/bin/bash
#
# Installs what a target needs and this machine lacks: deploy/deps.sh [build|run|test|check|browser
# ...] (the first four without an argument). Does nothing, at once, when all is there. Debian 12 and 13,
# Ubuntu 24.04; "a|b" is one library under the names that different releases give it.
#
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
    [build]="make gcc libc6-dev pkg-config libwebsockets-dev libwebsockets-evlib-uv libuv1-dev
             libhiredis-dev libmsgpack-c-dev|libmsgpack-dev libjwt-dev libssl-dev libargon2-dev
             uthash-dev zlib1g-dev"
    [run]="redis-server curl python3-websockets"
    [test]="libcmocka-dev redis-server curl python3-pytest python3-websockets nodejs node-ws
            node-typescript"
    [check]="clang-format clang-tidy cppcheck"
    [browser]="chromium"
)
yyjson_dir=build/deps

say() { echo "deps: $*"; }
die() { echo "deps: $*" >&2; exit 1; }

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

is_available() { # apt-cache says "(none)" for a name it only knows as a dependency
    grep -q '^  Candidate: [^(]' <<<"$(apt-cache policy "$1" 2>/dev/null)"
}

missing_packages() { # groups... -> names, alternatives unresolved
    local group entry name
    for group; do
        for entry in ${packages[$group]:-}; do
            for name in ${entry//|/ }; do
                is_installed "$name" && continue 2
            done
            echo "$entry"
        done
    done | sort -u
}

has_yyjson() { # a checkout that was moved unpacks it again: the .pc file has absolute paths
    grep -qsF "$PWD/$yyjson_dir/usr" "$yyjson_dir/pkgconfig/yyjson.pc" || is_installed libyyjson-dev
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root and no sudo here; as root: $*"
    fi
}

# A package must not start a service of its own (redis-server would take port 6379): policy-rc.d
# is Debian's switch for that. One that is already there is the administrator's and stays.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    [ -e "$policy" ] && return
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

apt_updated=
apt_update() {
    [ -z "$apt_updated" ] || return 0
    say "fetching the package lists (apt-get update)"
    as_root apt-get -q update
    apt_updated=yes
}

choose() { # "a|b" -> the first that apt can install
    local name
    for name in ${1//|/ }; do
        if is_available "$name"; then
            echo "$name"
            return
        fi
    done
    return 1
}

install_packages() {
    local entry name names=()
    for entry; do
        if ! name=$(choose "$entry"); then
            apt_update
            name=$(choose "$entry") || die "no package ${entry//|/ or } in this machine's apt sources"
        fi
        names+=("$name")
    done
    say "installing ${names[*]}"
    forbid_services
    apt_install "${names[@]}" || { apt_update && apt_install "${names[@]}"; }
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
}

# The mirror this machine installs from, whichever format its sources are written in.
debian_mirror() {
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 !~ /-|\// && $2 !~ /security/ && !n++ { print $2 }'
}

# Debian 12 has no yyjson. Debian 13's package needs nothing newer than Debian 12's libc, so it is
# unpacked under build/ with apt state of its own: the system's sources and packages stay as is.
unpack_yyjson_from_trixie() {
    local apt=$PWD/$yyjson_dir/apt mirror options keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(debian_mirror)
    mirror=${mirror:-http://deb.debian.org/debian}
    say "yyjson is not in this release: unpacking Debian 13's package from $mirror into $yyjson_dir"
    rm -rf "$yyjson_dir"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    [ -f "$keyring" ] || die "yyjson: $keyring is not there, so Debian's packages cannot be verified"
    echo "deb [signed-by=$keyring] $mirror trixie main" >"$apt/sources.list"
    options=(-q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Default-Release=
        -o Acquire::Languages=none -o APT::Update::Post-Invoke::=true)
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" download libyyjson0 libyyjson-dev)
    for package in "$apt"/*.deb; do
        dpkg -x "$package" "$yyjson_dir"
    done
    rm -rf "$apt"
    write_yyjson_pc
}

write_yyjson_pc() {
    local usr=$PWD/$yyjson_dir/usr lib
    lib=$(dirname "$(ls "$usr"/lib/*/libyyjson.so)")
    mkdir -p "$yyjson_dir/pkgconfig"
    printf '%s\n' 'Name: yyjson' "Description: Debian 13's package, unpacked by deploy/deps.sh" \
        'Version: 0' "Cflags: -isystem $usr/include" "Libs: -L$lib -Wl,-rpath,$lib -lyyjson" \
        >"$yyjson_dir/pkgconfig/yyjson.pc"
}

[ $# -gt 0 ] || set -- build run test check
for group; do
    [ -n "${packages[$group]:-}" ] || die "no such group: $group (build, run, test, check, browser)"
done
wants_yyjson=
[[ " $* " != *" build "* ]] || wants_yyjson=yes
if [ -z "$(missing_packages "$@")" ] && { [ -z "$wants_yyjson" ] || has_yyjson; }; then
    exit 0
fi
command -v apt-get >/dev/null ||
    die "no apt here; install by hand: $(missing_packages "$@" | tr '\n' ' ')"

mkdir -p build
exec 9>build/.deps.lock # a second make in this checkout waits, then finds all there
flock 9
mapfile -t missing < <(missing_packages "$@")
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
if [ -n "$wants_yyjson" ] && ! has_yyjson; then
    if is_available libyyjson-dev; then
        install_packages libyyjson-dev
    else
        unpack_yyjson_from_trixie
    fi
fi
say "all there"
