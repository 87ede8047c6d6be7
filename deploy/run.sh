#!/bin/bash
#
# make run: a private Redis, auth, router(s) and gateways on this machine, until Ctrl-C.
#
#   deploy/run.sh [DIRECTORY OF THE BINARIES]
#   ROUTERS=1 GATEWAYS=2    how many of each
#   TRUNKLINE_*             goes on to every process; with TRUNKLINE_REDIS no Redis is started
#   TRUNKLINE_OPEN_IDENTITY on unless it is set: /messaging and /simple believe names, as their
#                           sources do; for a machine of one's own
#
# Data, logs and the passwords of alice and bob stay in var/, so that a second run goes on.
#
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" != --signals-reset ]; then
    # A shell that runs us in the background ignores SIGINT for us, and bash cannot undo that.
    exec env --default-signal=INT,TERM "$PWD/deploy/run.sh" --signals-reset "$@"
fi
bin=${2:-build/release}
export TRUNKLINE_OPEN_IDENTITY=${TRUNKLINE_OPEN_IDENTITY:-on}
routers=${ROUTERS:-1}
gateways=${GATEWAYS:-2}
ready_within=30    # seconds
stop_within=10     # seconds, then SIGKILL
steady_after=10    # a process that lived so many seconds is started again without delay
longest_delay=30   # seconds between two tries

declare -A pid_of=() started_at=() failures=() port_of=()
gateway_host='' auth_port='' redis_port='' tail_pid='' reason='' stopping=''

say() { echo "run: $*"; }
fail() {
    echo "run: $*" >&2
    exit 1
}

# ---- processes ---------------------------------------------------------------------------------
# Each has its own session, so that Ctrl-C reaches only this script and they end in order; were
# this script killed, the kernel ends them (pdeathsig).
spawn() { # name delay command...
    local name=$1 delay=$2
    shift 2
    {
        [ "$name" = redis ] || exec 9>&- # the data's lock is held as long as Redis lives
        [ "$delay" = 0 ] || sleep "$delay"
        exec setsid setpriv --pdeathsig TERM -- "$@"
    } </dev/null >>"var/log/$name.log" 2>&1 &
    pid_of[$name]=$!
    started_at[$name]=$((SECONDS + delay))
}

start() { # name [delay]
    local name=$1 delay=${2:-0}
    case $name in
    redis)
        spawn redis "$delay" redis-server deploy/redis.conf --bind 127.0.0.1 \
            --port "$redis_port" --dir "$PWD/var/redis" --daemonize no
        ;;
    gateway-*)
        spawn "$name" "$delay" env TRUNKLINE_NAME="$name" \
            TRUNKLINE_GATEWAY_LISTEN="$gateway_host:${port_of[$name]}" "$bin/gateway"
        ;;
    *)
        spawn "$name" "$delay" env TRUNKLINE_NAME="$name" "$bin/${name%-*}"
        ;;
    esac
}

is_alive() { kill -0 "${pid_of[$1]}" 2>/dev/null; }

reap() { # name, of a process that has ended; sets reason
    local status=0
    wait "${pid_of[$1]}" 2>/dev/null || status=$?
    reason="exit $status"
    [ "$status" -le 128 ] || reason="killed by SIG$(kill -l $((status - 128)))"
}

# At the first start a death is a wrong setting, a port in use or a missing Redis: a second try
# would say the same, so its last words end the run.
must_live() {
    local name
    [ -z "$stopping" ] || exit 0
    for name in "${!pid_of[@]}"; do
        is_alive "$name" && continue
        reap "$name"
        tail -n 3 "var/log/$name.log" >&2
        unset "pid_of[$name]"
        fail "$name did not start ($reason); the whole log is var/log/$name.log"
    done
}

restart_the_dead() {
    local name delay
    for name in "${!pid_of[@]}"; do
        is_alive "$name" && continue
        if [ $((SECONDS - started_at[$name])) -ge $steady_after ]; then
            failures[$name]=0
        fi
        delay=$((failures[$name] == 0 ? 0 : 1 << (failures[$name] - 1)))
        delay=$((delay > longest_delay ? longest_delay : delay))
        failures[$name]=$((failures[$name] < 10 ? failures[$name] + 1 : 10))
        reap "$name"
        if [ $delay = 0 ]; then
            say "$name ended ($reason): starting it again"
        else
            say "$name ended again ($reason): next try in $delay s; see var/log/$name.log"
        fi
        start "$name" $delay
    done
}

# No fork and no polling child: an idle run costs nothing, and a trap is not held up.
exec {never}<> <(:)
pause() { read -r -t "$1" -u "$never" || true; }

# ---- stopping: who takes work from outside goes first, Redis last ------------------------------
stop() { # names...
    local name until=$((SECONDS + stop_within))
    for name; do
        kill -TERM "${pid_of[$name]}" 2>/dev/null || true
    done
    for name; do
        while is_alive "$name" && [ $SECONDS -lt $until ]; do pause 0.05; done
        if is_alive "$name"; then
            say "$name did not stop within $stop_within s: killing it"
            kill -KILL "${pid_of[$name]}" 2>/dev/null || true
        fi
        wait "${pid_of[$name]}" 2>/dev/null || true
        unset "pid_of[$name]"
    done
}

stop_all() {
    local kind name names
    trap '' INT TERM
    [ ${#pid_of[@]} = 0 ] || say "stopping"
    for kind in gateway router auth redis; do
        names=()
        for name in "${!pid_of[@]}"; do
            [[ $name != "$kind"* ]] || names+=("$name")
        done
        [ ${#names[@]} = 0 ] || stop "${names[@]}"
    done
    [ -z "$tail_pid" ] || kill "$tail_pid" 2>/dev/null || true
    say "stopped; data and logs stay in var/"
}

# ---- ports and addresses -----------------------------------------------------------------------
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_ports() {
    local listen=${TRUNKLINE_GATEWAY_LISTEN:-0.0.0.0:8081} auth=${TRUNKLINE_AUTH_LISTEN:-0.0.0.0:8082}
    local port=${listen##*:} n
    gateway_host=${listen%:*} auth_port=${auth##*:}
    for ((n = 1; n <= gateways; n++)); do
        [ "$port" != "$auth_port" ] || port=$((port + 1))
        port_of[gateway-$n]=$port
        port=$((port + 1))
    done
}

# ---- steps of the start ------------------------------------------------------------------------
prepare_directories() {
    local log
    mkdir -p var/log var/redis
    exec 9>var/run.lock
    flock -w 5 9 || { echo "run: another 'make run' uses this directory's var/" >&2; exit 1; }
    for log in var/log/*.log; do
        [ ! -e "$log" ] || mv "$log" "$log.1"
    done
}

start_redis() {
    if [ -n "${TRUNKLINE_REDIS:-}" ]; then
        say "using the Redis of TRUNKLINE_REDIS"
        return
    fi
    redis_port=6399
    until port_is_free $redis_port; do redis_port=$((redis_port + 1)); done
    export TRUNKLINE_REDIS=redis://127.0.0.1:$redis_port
    say "starting a private Redis on 127.0.0.1:$redis_port (data in var/redis)"
    start redis
    until [ "$(redis-cli -p $redis_port ping 2>/dev/null)" = PONG ]; do
        must_live
        pause 0.1
    done
}

# A console for people, and a key for backends; whoever sets his own has those.
prepare_gateways() {
    export TRUNKLINE_CONSOLE=${TRUNKLINE_CONSOLE:-on}
    [ -z "${TRUNKLINE_API_KEYS:-}${TRUNKLINE_API_KEYS_FILE:-}" ] || return 0
    export TRUNKLINE_API_KEYS_FILE=$PWD/var/api.keys
    [ -s var/api.keys ] || (umask 077 && echo "run:admin:$(head -c 18 /dev/urandom | base64 |
        tr '+/' '-_')" >var/api.keys)
}

start_processes() {
    local name
    prepare_gateways
    say "starting auth, $routers router(s) and $gateways gateway(s)"
    start auth
    for ((n = 1; n <= routers; n++)); do start router-$n; done
    for ((n = 1; n <= gateways; n++)); do start gateway-$n; done
    for name in "${!pid_of[@]}"; do failures[$name]=0; done
}

answers() { curl -fsS --max-time 2 -o /dev/null "$1" 2>/dev/null; }

wait_until_ready() {
    local name url until=$((SECONDS + ready_within))
    for name in auth "${!port_of[@]}"; do
        url=http://127.0.0.1:${port_of[$name]:-$auth_port}/readyz
        until answers "$url"; do
            must_live
            [ $SECONDS -lt $until ] || fail "$name is not ready after $ready_within s ($url)"
            pause 0.1
        done
    done
    must_live
}

# Warnings and errors of all processes show here too; everything is in the files.
show_warnings() {
    setpriv --pdeathsig TERM -- tail -q -n 0 -F $(printf 'var/log/%s.log ' "${!pid_of[@]}") 2>/dev/null 9>&- \
        > >(exec grep --line-buffered -E '^[^ ]+ (error|warn) |"level":"(error|warn)"' 9>&-) &
    tail_pid=$!
}

# ---- alice and bob -----------------------------------------------------------------------------
password_of() { # made at the first run, readable by their owner only
    local file=var/password.$1
    [ -s "$file" ] || (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' '-_' >"$file")
    cat "$file"
}

post() { # path user password -> body; the secret goes through stdin, not the argument list
    printf '{"username":"%s","password":"%s"}' "$2" "$3" |
        curl -sS --max-time 10 -H 'Content-Type: application/json' -d @- "http://127.0.0.1:$auth_port$1"
}

token_of() { # registers the user if need be
    local password
    password=$(password_of "$1")
    post /register "$1" "$password" >/dev/null || return 1
    post /login "$1" "$password" | sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p'
}

print_welcome() {
    local n name alice bob first=${port_of[gateway-1]} second
    second=${port_of[gateway-$((gateways > 1 ? 2 : 1))]}
    alice=$(token_of alice) bob=$(token_of bob)
    echo
    echo "Trunkline is up. Ctrl-C stops it."
    echo
    for ((n = 1; n <= gateways; n++)); do
        name=gateway-$n
        echo "  $name   ws://127.0.0.1:${port_of[$name]}/ws   http://127.0.0.1:${port_of[$name]}/readyz /metrics"
    done
    case $TRUNKLINE_CONSOLE in
    1 | on | yes | true) echo "  console     http://127.0.0.1:$first/" ;;
    esac
    [ "${TRUNKLINE_API_KEYS_FILE:-}" != "$PWD/var/api.keys" ] ||
        echo "  HTTP API    http://127.0.0.1:$first/api/v1/   (docs/api.md; key: the last part of var/api.keys)"
    echo "  auth        http://127.0.0.1:$auth_port   (POST /register /login /guest /logout)"
    [ -z "$redis_port" ] || echo "  Redis       redis-cli -p $redis_port"
    echo "  logs        var/log/"
    echo
    if [ -z "$alice" ] || [ -z "$bob" ]; then
        say "auth gave no token for alice and bob: are they registered with other passwords than var/password.*?"
        return
    fi
    echo "alice=$alice"
    echo
    echo "bob=$bob"
    echo
    echo "Bob on the second gateway listens; alice on the first writes to him. Two terminals, each after pasting its line from above:"
    echo
    echo "  /usr/bin/python3 -m websockets \"ws://127.0.0.1:$second/ws?token=\$bob\""
    echo "  /usr/bin/python3 -m websockets \"ws://127.0.0.1:$first/ws?token=\$alice\""
    echo "  {\"type\":\"DirectMessage\",\"data\":{\"target_user\":\"bob\",\"payload\":{\"message\":\"hello\"}}}"
    echo
    case $TRUNKLINE_OPEN_IDENTITY in 1 | on | yes | true)
        echo "Names are believed on two endpoints (TRUNKLINE_OPEN_IDENTITY):"
        echo
        echo "  /usr/bin/python3 -m websockets \"ws://127.0.0.1:$first/messaging?client_id=31\""
        echo "  {\"send\":[{\"id\":1,\"rid\":\"bob\",\"sid\":31,\"text\":\"hello\"}]}"
        echo "  /usr/bin/python3 -m websockets \"ws://127.0.0.1:$first/simple?username=carol\""
        echo
        ;;
    esac
}

# ---- the run -----------------------------------------------------------------------------------
for name in gateway router auth; do
    [ -x "$bin/$name" ] || { echo "run: $bin/$name is missing; make build makes it" >&2; exit 1; }
done
trap stopping=yes INT TERM # only a flag: bash does not notice dead children inside a handler
prepare_directories
trap stop_all EXIT
choose_ports
start_redis
start_processes
wait_until_ready
show_warnings
print_welcome
while [ -z "$stopping" ]; do
    restart_the_dead
    pause 0.5
done
