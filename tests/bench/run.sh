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
    local label=$1
    shift
    case " $wanted " in *" $label "*) ;; *) return 0 ;; esac
    "$bin/bench/load" --label "$label" --build "$build" --json "$results" --ports "$ports" \
        --server "$server" "$@" || failures=$((failures + 1))
}

any_of() { # labels... : is one of them wanted?
    local label
    for label; do
        case " $wanted " in *" $label "*) return 0 ;; esac
    done
    return 1
}

messages() {
    local protocol
    any_of fan16 fan128 fan50 pairs1 pairs16 messaging chat simple callie || return 0
    stack_start hs256
    load fan16 --scenario fanout --clients 1000 --window 16 --secret "$secret"
    load fan128 --scenario fanout --clients 1000 --window 128 --secret "$secret"
    load fan50 --scenario fanout --clients 1000 --rate 50 --secret "$secret"
    load pairs1 --scenario pairs --clients 200 --window 1 --secret "$secret"
    load pairs16 --scenario pairs --clients 200 --window 16 --secret "$secret"
    for protocol in messaging chat simple callie; do
        load $protocol --scenario pairs --protocol $protocol --clients 200 --window 16 --secret "$secret"
    done
    stack_stop
}

# Memory and connecting are measured on processes that have done nothing before.
connections() {
    if any_of idle; then
        stack_start hs256
        load idle --scenario idle --clients 10000 --hold "${HOLD:-5}" --every 30 --secret "$secret"
        stack_stop
    fi
    if any_of storm; then
        stack_start hs256
        load storm --scenario storm --clients 5000 --secret "$secret"
        stack_stop
    fi
    if any_of storm-rs256; then
        stack_start rs256
        guest_tokens 5000 >"$scratch/tokens"
        load storm-rs256 --scenario storm --clients 5000 --tokens "$scratch/tokens"
        stack_stop
    fi
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
