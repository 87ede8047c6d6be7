#!/bin/bash
#
# make bench: the load client against private stacks of this build.
#
#   RUNS=3           how often each scenario is run; the table shows medians
#   GATEWAYS=2 ROUTERS=1
#   SCENARIOS="..."  some of: fan16 fan128 fan50 pairs1 pairs16 messaging chat simple callie
#                    idle storm storm-rs256
#   HOLD=5           seconds that idle's connections do nothing; of more than 30, a line each 30
#
# The table goes to standard output, a line of JSON for each result to build/bench.jsonl.
#
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${TRUNKLINE_BUILD:-build/release}
runs=${RUNS:-3}
wanted=${SCENARIOS:-fan16 fan128 fan50 pairs1 pairs16 messaging chat simple callie idle storm storm-rs256}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/trunkline-bench.XXXXXX")
results=$scratch/results.jsonl
build=$(git describe --always --dirty 2>/dev/null || echo unknown)
failures=0
. tests/bench/stack.sh
[ -x "$bin/gateway" ] && [ -x "$bin/bench/load" ] || { echo "bench: make bench builds $bin first" >&2; exit 1; }
ulimit -n "$(ulimit -Hn)"

finish() {
    stack_stop
    [ ! -s "$results" ] || cat "$results" >>build/bench.jsonl
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

load() { # label options...
    "$bin/bench/load" --label "$1" --build "$build" --json "$results" --ports "$ports" \
        --server "$server" "${@:2}" || failures=$((failures + 1))
}

is_wanted() { # label
    case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac
}

# Each on processes that have done nothing before: what a scenario leaves behind in memory and in
# the page cache slows the next one down, by a fifth.
scenario() { # label options...
    is_wanted "$1" || return 0
    stack_start hs256
    load "$@" --secret "$secret"
    stack_stop
}

messages() {
    local protocol
    scenario fan16 --scenario fanout --clients 1000 --window 16
    scenario fan128 --scenario fanout --clients 1000 --window 128
    scenario fan50 --scenario fanout --clients 1000 --rate 50
    scenario pairs1 --scenario pairs --clients 200 --window 1
    scenario pairs16 --scenario pairs --clients 200 --window 16
    for protocol in messaging chat simple callie; do
        scenario $protocol --scenario pairs --protocol $protocol --clients 200 --window 16
    done
}

connections() {
    scenario idle --scenario idle --clients 10000 --hold "${HOLD:-5}" --every 30
    scenario storm --scenario storm --clients 5000
    is_wanted storm-rs256 || return 0
    stack_start rs256
    guest_tokens 5000 >"$scratch/tokens"
    load storm-rs256 --scenario storm --clients 5000 --tokens "$scratch/tokens"
    stack_stop
}

guest_tokens() { # how many
    curl -fsS -d '' "http://127.0.0.1:$auth_port/guest?[1-$1]" |
        grep -o '"token":"[^"]*"' | cut -d '"' -f 4
}

for ((run = 1; run <= runs; run++)); do
    echo "== run $run of $runs ($build, ${GATEWAYS:-2} gateways, $(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg))"
    messages
    connections
done
echo
/usr/bin/python3 tests/bench/table.py "$results"
[ "$failures" = 0 ] || { echo "bench: $failures results were not flawless" >&2; exit 1; }
