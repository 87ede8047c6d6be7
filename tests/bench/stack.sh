# Sourced by run.sh and peers.sh: a private Trunkline on free ports, data in a directory of its own.
#
#   stack_start hs256|rs256   sets $ports, $server (name:pid list), $auth_port, $secret
#   stack_stop                ends what it started, by pid; what Redis has written goes
#
# The caller sets $bin (the binaries) and $scratch (a directory); GATEWAYS and ROUTERS say how many.

declare -a stack_pids=()
stack_number=0

stack_fail() {
    echo "bench: $*" >&2
    tail -n 3 "$data"/*.log >&2
    exit 1
}

# Sets $port: below the range the kernel takes ports from for outgoing connections, and no other of
# this stack, whose processes may not listen yet.
free_port() {
    while :; do
        port=$((20000 + RANDOM % 12000))
        case " $stack_ports " in *" $port "*) continue ;; esac
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    stack_ports+=" $port"
}

stack_spawn() { # name command...
    local name=$1
    shift
    TRUNKLINE_NAME=$name setpriv --pdeathsig TERM -- "$@" </dev/null >"$data/$name.log" 2>&1 &
    stack_pids+=($!)
    server+=${server:+,}$name:$!
}

stack_wait() { # what command...
    local what=$1 deadline=$((SECONDS + 30)) pid
    shift
    until "$@" >/dev/null 2>&1; do
        for pid in "${stack_pids[@]}"; do
            kill -0 "$pid" 2>/dev/null || stack_fail "a process of the stack has ended"
        done
        [ $SECONDS -lt $deadline ] || stack_fail "$what is not ready after 30 s"
        sleep 0.05
    done
}

stack_start() { # hs256|rs256
    local redis_port n port pid stack_ports=
    data=$scratch/stack-$((++stack_number)) server='' ports=''
    mkdir -p "$data/redis"
    free_port && redis_port=$port
    free_port && auth_port=$port
    secret=$data/secret
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$secret"
    export TRUNKLINE_REDIS=redis://127.0.0.1:$redis_port TRUNKLINE_RATE_LIMITS=off
    export TRUNKLINE_AUTH_LISTEN=127.0.0.1:$auth_port TRUNKLINE_AUTH_KEYS=$data/keys
    export TRUNKLINE_TOKEN_SECRET_FILE=$secret
    [ "$1" = hs256 ] || TRUNKLINE_TOKEN_SECRET_FILE=

    stack_spawn redis redis-server deploy/redis.conf --bind 127.0.0.1 --port "$redis_port" \
        --dir "$data/redis" --daemonize no
    stack_wait Redis redis-cli -p "$redis_port" ping
    stack_spawn auth "$bin/auth"
    for ((n = 1; n <= ${ROUTERS:-1}; n++)); do stack_spawn "router-$n" "$bin/router"; done
    for ((n = 1; n <= ${GATEWAYS:-2}; n++)); do
        free_port
        TRUNKLINE_GATEWAY_LISTEN=127.0.0.1:$port stack_spawn "gateway-$n" "$bin/gateway"
        ports+=${ports:+,}$port
    done
    stack_wait auth curl -fsS --max-time 2 "http://127.0.0.1:$auth_port/healthz"
    for port in ${ports//,/ }; do
        stack_wait "the gateway on $port" curl -fsS --max-time 2 "http://127.0.0.1:$port/readyz"
    done
    for pid in "${stack_pids[@]}"; do
        kill -0 "$pid" 2>/dev/null || stack_fail "a process of the stack has ended"
    done
}

# In the order opposite to the start: Redis is the last to go.
stack_stop() {
    local i n pid
    for ((i = ${#stack_pids[@]} - 1; i >= 0; i--)); do
        pid=${stack_pids[i]}
        kill -TERM "$pid" 2>/dev/null || continue
        for ((n = 0; n < 100; n++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null && echo "bench: $pid did not stop in 5 s" >&2
        wait "$pid" 2>/dev/null || true # its status is that of the signal
    done
    stack_pids=()
    [ -z "${data:-}" ] || rm -rf "$data/redis"
}
