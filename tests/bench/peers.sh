#!/bin/bash
#
# Trunkline beside other servers, on this machine, in the same minutes: each run measures them one
# after the other, so that what else the machine does hits all alike.
#
#   tests/bench/peers.sh [PEERS]     default: "nchan-redis-aof sio-2-aof"
#   RUNS=3 SCENARIOS="fan16 pairs16"
#   SHARED=../shared/bench           the peers' start scripts and the neutral generator, wsload
#   PEERS_DIR=/var/tmp/...           where they are copied to and built; outside of the repository
#   WSLOAD=file                      a wsload with a profile `trunkline`: one generator for all.
#                                    Without it Trunkline is measured by our own load client.
#
# Needs what the peers need: nginx-light and libnginx-mod-nchan, or nodejs and npm.
#
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${TRUNKLINE_BUILD:-build/release}
shared=${SHARED:-../shared/bench}
peers_dir=${PEERS_DIR:-/var/tmp/trunkline-peers}
peers=${1:-nchan-redis-aof sio-2-aof}
wanted=${SCENARIOS:-fan16 pairs16}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/trunkline-bench.XXXXXX")
results=$scratch/results.jsonl
running=''
. tests/bench/stack.sh
ulimit -n "$(ulimit -Hn)"

finish() {
    [ -z "$running" ] || "$peers_dir/stop.sh" "$running"
    stack_stop
    [ ! -s "$results" ] || cat "$results" >>build/peers.jsonl
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

# peer -> directory, arguments of its start.sh, wsload's profile and ports
declare -A peer_table=(
    [nchan-redis]="nchan redis nchan 6531"
    [nchan-redis-aof]="nchan redis-aof nchan 6531"
    [sio-2]="socketio 2 sio 6541,6542"
    [sio-2-aof]="socketio 2,aof sio 6541,6542"
)
declare -A wsload_options=(
    [fan16]="--scenario fanout --n 1000 --window 16 --duration 4 --warm 0.6"
    [fan128]="--scenario fanout --n 1000 --window 128 --duration 4 --warm 0.6"
    [pairs1]="--scenario pairs --n 200 --window 1 --duration 3 --warm 0.6"
    [pairs16]="--scenario pairs --n 200 --window 16 --duration 3 --warm 0.6"
)
declare -A load_options=(
    [fan16]="--scenario fanout --clients 1000 --window 16"
    [fan128]="--scenario fanout --clients 1000 --window 128"
    [pairs1]="--scenario pairs --clients 200 --window 1 --duration 3"
    [pairs16]="--scenario pairs --clients 200 --window 16 --duration 3"
)

prepare() {
    local peer directory
    mkdir -p "$peers_dir"
    [ -x "$peers_dir/wsload" ] || {
        cp -r "$shared/." "$peers_dir"
        chmod -R u+w "$peers_dir"
        gcc -O2 -w -o "$peers_dir/wsload" "$peers_dir/wsload.c" -lm
    }
    for peer in $peers; do
        [ -n "${peer_table[$peer]:-}" ] || { echo "peers: unknown: $peer" >&2; exit 2; }
        directory=$peers_dir/${peer_table[$peer]%% *}
        [ ! -e "$directory/package.json" ] || [ -d "$directory/node_modules" ] ||
            (cd "$directory" && npm install --no-audit --no-fund)
    done
}

wsload() { # label profile ports pids options...
    local label=$1 profile=$2 ports=$3 pids=$4
    shift 4
    timeout 60 "${WSLOAD:-$peers_dir/wsload}" --profile "$profile" --port "$ports" \
        --server-pid "$pids" --label "$label" --json "$results" "$@" | grep -v '^{'
}

measure_peer() {
    local directory arguments profile ports scenario
    read -r directory arguments profile ports <<<"${peer_table[$1]}"
    running=$directory
    "$peers_dir/$directory/start.sh" ${arguments//,/ } >/dev/null
    for scenario in $wanted; do
        wsload "$1|$scenario" "$profile" "$ports" "$(cat "$peers_dir/$directory/pids")" \
            ${wsload_options[$scenario]}
    done
    "$peers_dir/stop.sh" "$directory"
    running=''
}

measure_trunkline() {
    local scenario
    stack_start hs256
    for scenario in $wanted; do
        if [ -n "${WSLOAD:-}" ]; then
            TRUNKLINE_SECRET=$secret wsload "trunkline|$scenario" trunkline "$ports" \
                "$(sed -E 's/([^:,]+):([0-9]+)/\2:\1/g' <<<"$server")" ${wsload_options[$scenario]}
        else
            "$bin/bench/load" --label "trunkline|$scenario" --json "$results" --ports "$ports" \
                --server "$server" --secret "$secret" ${load_options[$scenario]}
        fi
    done
    stack_stop
}

prepare
for ((run = 1; run <= ${RUNS:-3}; run++)); do
    echo "== run $run (load $(cut -d ' ' -f 1 /proc/loadavg))"
    measure_trunkline
    for peer in $peers; do measure_peer "$peer"; done
done
echo
/usr/bin/python3 tests/bench/ratios.py "$results"
