#!/bin/sh
# debian.sh SUITE COMMAND...: runs a command on another Debian, in a copy of this checkout.
#
# At first there is nothing but git, make and a shell: what the command needs besides, it installs itself. The root
# is made by debootstrap in .cache/debian/SUITE and kept, with what was installed and built in it. FRESH=1 makes it
# anew. Needs root, for chroot; mounts and processes are in namespaces of their own and end with the command.
set -eu
cd "$(dirname "$0")/.."
suite=${1:?usage: debian.sh SUITE COMMAND...}
shift
: "${MIRROR:=http://deb.debian.org/debian}"
root=$PWD/.cache/debian/$suite
log=$root.log

die() {
    echo "error: $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

need_debootstrap() {
    PATH=$PATH:/usr/sbin:/sbin
    has debootstrap && return
    has apt-get || die "debootstrap is missing: install it by this system's package manager"
    echo "Installing debootstrap" >&2
    { apt-get update && apt-get install --yes --no-install-recommends debootstrap; } >"$log" 2>&1 ||
        die "cannot install debootstrap (all output: $log); run: apt-get update && apt-get install debootstrap"
}

make_root() {
    need_debootstrap
    echo "Making $root (Debian $suite with git and make)" >&2
    rm -rf "$root" "$root.new"
    debootstrap --variant=minbase --include=git,make "$suite" "$root.new" "$MIRROR" >"$log" 2>&1 || {
        tail -n 3 "$log" >&2
        die "debootstrap failed (all output: $log); another mirror: MIRROR=http://..."
    }
    rm -f "$root.new"/var/cache/apt/archives/*.deb
    mv "$root.new" "$root"
}

copy_checkout() {
    mkdir -p "$root/erlang_python"
    # What was built there stays.
    find "$root/erlang_python" -mindepth 1 -maxdepth 1 ! -name .cache ! -name _build -exec rm -rf {} +
    tar -c --exclude-vcs --exclude=./.cache --exclude=./_build --exclude=./doc --exclude=./tmp . |
        tar -x --no-same-owner -C "$root/erlang_python"
}

# How this machine reaches the network: names, proxies, certificates of its own.
copy_network() {
    # Copies: in the root these may be links to nowhere.
    for file in /etc/resolv.conf /etc/hosts; do
        rm -f "$root$file"
        cat "$file" >"$root$file"
    done
    certificates=${SSL_CERT_FILE:-}
    network=$(env | grep -i -E '^(https?|no|all)_proxy=' || true)
    if [ -n "$certificates" ]; then
        mkdir -p "$root/etc/ssl"
        cp "$certificates" "$root/etc/ssl/machine.crt"
        for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE; do
            network="$network $name=/etc/ssl/machine.crt"
        done
    fi
}

enter() {
    # The first process of its namespace: it stays, to see its orphans off.
    # shellcheck disable=SC2016,SC2086
    unshare --mount --pid --fork --kill-child sh -eu -c '
        root=$1
        shift
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        status=0
        chroot "$root" env -i "$@" || status=$?
        exit $status' sh \
        "$root" HOME=/root TERM="${TERM:-dumb}" $network \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        sh -c 'cd /erlang_python && exec "$@"' sh "$@"
}

[ "$(uname)" = Linux ] || die "a Debian root can be entered on Linux only"
[ "$(id -u)" = 0 ] || die "chroot needs root: run it with sudo"
mkdir -p .cache/debian
exec 9>"$root.lock"
flock --nonblock 9 || die "another command runs in $root: wait for its end"
[ -z "${FRESH:-}" ] && [ -d "$root" ] || make_root
copy_network
copy_checkout
enter "$@"
