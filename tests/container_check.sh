#!/bin/bash
#
# The two commands of README.md on a bare machine: a Debian made by debootstrap with nothing added
# but make, git and ca-certificates, and a clean clone of HEAD in it. There `make run` must come up,
# carry a message from one gateway to the other, stop on Ctrl-C and come up again; then `make test`.
#
#   tests/container_check.sh [bookworm|trixie]     as root; some ten minutes, most of it installing
#
# The base system is kept in /var/tmp/trunkline-bare; the copy the check ran in is removed.
#
set -euo pipefail
suite=${1:-bookworm}
repository=$(cd "$(dirname "$0")/.." && pwd)
cache=/var/tmp/trunkline-bare
base=$cache/$suite.tar
root=$cache/$suite.$$

step() { echo "== $(date -u +%T) $*"; }
die() { echo "container_check: $*" >&2; exit 1; }

# ---- the machine's apt: its mirror, its proxy and date settings, not its hooks ------------------
source_uri() { # pattern of the release -> address
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$1" '$1 ~ release && !n++ { print $2 }'
}

carry_apt_settings() {
    local security
    security=$(source_uri '-security$')
    echo "deb $mirror $suite main" >"$root/etc/apt/sources.list"
    [ -z "$security" ] || echo "deb $security $suite-security main" >>"$root/etc/apt/sources.list"
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/99machine" || true
    [ ! -d /etc/apt/auth.conf.d ] || cp -a /etc/apt/auth.conf.d/. "$root/etc/apt/auth.conf.d/"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
}

make_base() {
    [ ! -s "$base" ] || return 0
    command -v debootstrap >/dev/null || apt-get -q -y install debootstrap
    step "making a bare Debian $suite from $mirror (once; kept as $base)"
    debootstrap --variant=minbase --include=make,git,ca-certificates "$suite" "$root" "$mirror" \
        >"$cache/debootstrap.log" || die "debootstrap failed, see $cache/debootstrap.log"
    tar -C "$root" -cf "$base.part" . && mv "$base.part" "$base"
    rm -rf --one-file-system "$root"
}

# ---- what runs inside --------------------------------------------------------------------------
inside() {
    cat <<'INSIDE'
set -euo pipefail
cd /root/trunkline
step() { echo "== $(date -u +%T) $*"; }
die() { echo "container_check: $*" >&2; exit 1; }

start_run() {
    step "make run"
    : >/root/run.log
    env --default-signal=INT setsid make run >/root/run.log 2>&1 &
    run=$!
    tail -n +1 -f --pid=$run /root/run.log &
    for ((i = 0; i < 9000; i++)); do
        ! grep -q '^bob=' /root/run.log || return 0
        kill -0 $run 2>/dev/null || die "make run ended before it was ready"
        sleep 0.1
    done
    die "make run is not ready after 15 minutes"
}

stop_run() {
    local status=0 process
    step "Ctrl-C"
    kill -INT -- -$run
    wait $run || status=$?
    step "make run ended with $status"
    [ $status = 0 ] || [ $status = 130 ] || [ $status = 2 ] || die "make run did not end cleanly"
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe") in
        */build/*|*/redis-*) die "still there: $(tr '\0' ' ' <"$process/cmdline")" ;;
        esac
    done
}

say_hello() {
    step "alice on 8081 writes to bob on 8083"
    cat >/root/hello.py <<'PYTHON'
import asyncio, json, websockets

tokens = dict(line.strip().split("=", 1) for line in open("/root/run.log")
              if line.startswith(("alice=", "bob=")))

def connect(port, user):
    return websockets.connect(f"ws://127.0.0.1:{port}/ws?token={tokens[user]}")

async def until(socket, kind):
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 20))
        if frame["type"] == kind:
            return frame["data"]

def direct(to, text): # without an id: one that was used before would be a retry
    return json.dumps({"type": "DirectMessage", "data": {
        "target_user": to, "payload": {"message": text}}})

async def main():
    async with connect(8083, "bob") as bob, connect(8081, "alice") as alice:
        welcomes = await asyncio.gather(until(bob, "Status"), until(alice, "Status"))
        assert [welcome["status"] for welcome in welcomes] == ["connected"] * 2, welcomes
        # A welcome does not wait for the router; once bob's own message is answered, it knows him.
        await bob.send(direct("bob", "to myself"))
        await until(bob, "DirectMessage")
        await alice.send(direct("bob", "hello"))
        got, ack = await asyncio.gather(until(bob, "DirectMessage"), until(alice, "Ack"))
        print("bob got:", json.dumps(got))
        print("alice got:", json.dumps(ack))
        assert got["from_user"] == "alice" and got["payload"] == {"message": "hello"}
        assert ack["delivered_to"] == [welcomes[0]["details"]["connection_id"]]

asyncio.run(main())
PYTHON
    /usr/bin/python3 /root/hello.py
}

start_run; say_hello; stop_run
step "a second run, on the same data"
start_run; say_hello; stop_run
step "make test"
make test
step "nothing left to install or build"
make test -n >/dev/null && make
INSIDE
}

enter() { # the root, as pid 1 of its own: whatever it started ends with it
    exec unshare --mount --pid --fork --kill-child --uts --ipc bash -c '
        set -e
        hostname bare
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        mount -t tmpfs tmpfs "$0/tmp"
        exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
            ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
            bash /root/inside.sh' "$root" </dev/null
}

# ---- the check ---------------------------------------------------------------------------------
[ "$(id -u)" = 0 ] || die "needs root (debootstrap, chroot)"
for port in 8081 8082 8083; do # the network is this machine's
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "port $port is in use on this machine"
done
mirror=$(source_uri '^[a-z]+$')
[ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources"
mkdir -p "$cache"
trap 'rm -rf --one-file-system "$root"' EXIT
make_base
step "unpacking the bare system, cloning $(git -C "$repository" log -1 --format='%h %s')"
[ -z "$(git -C "$repository" status --porcelain)" ] || echo "   (uncommitted changes are not in the clone)"
mkdir -p "$root"
tar -C "$root" -xf "$base"
carry_apt_settings
git clone -q --no-hardlinks "$repository" "$root/root/trunkline"
inside >"$root/root/inside.sh"
(enter) || die "failed"
step "container_check passed on bare $suite"
