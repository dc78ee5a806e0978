# Programs of a cluster: started into a network namespace, waited for, stopped by their pids.

log() { echo "[$(date +%T)] $*"; }

fail() {
    echo "cluster '$NAME': $*" >&2
    exit 1
}

# Runs a command in a network namespace. Not by `ip netns exec`, which mounts /sys anew and so hides the cgroups.
in_net() { nsenter --net="/run/netns/$1" "${@:2}"; }

# start NAMESPACE NAME COMMAND...: leaves the pid in $DIR/pid/NAME and what it says in $DIR/log/NAME.log.
start() {
    local namespace=$1 name=$2
    shift 2
    (
        # It lives on: a lock or a pipe of whoever started the cluster must not live on with it.
        for descriptor in /proc/"$BASHPID"/fd/*; do
            descriptor=${descriptor##*/}
            [ "$descriptor" -le 2 ] || eval "exec $descriptor>&-"
        done
        exec setsid nsenter --net="/run/netns/$namespace" "$@"
    ) >"$DIR/log/$name.log" 2>&1 </dev/null &
    echo $! >"$DIR/pid/$name"
}

# Is the process of a pid file still ours? Pids come back; what we start has our folder in its command line.
is_ours() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -e "$DIR" -e "$RUN"
}

# stop PID-FILE...: TERM to all of them, and KILL to those that are still there after 5 seconds.
stop() {
    local file left
    for file in "$@"; do
        ! is_ours "$file" || kill "$(cat "$file")" 2>/dev/null || true
    done
    for _ in $(seq 50); do
        left=
        for file in "$@"; do
            ! is_ours "$file" || left=yes
        done
        [ -n "$left" ] || break
        sleep 0.1
    done
    for file in "$@"; do
        ! is_ours "$file" || kill -9 "$(cat "$file")" 2>/dev/null || true
        rm -f "$file"
    done
}

# wait_for NAME COMMAND...: until the command succeeds; fails at once when the program NAME has ended.
wait_for() {
    local name=$1 begun=$SECONDS
    shift
    until "$@" >/dev/null 2>&1; do
        if [ -f "$DIR/pid/$name" ] && ! kill -0 "$(cat "$DIR/pid/$name")" 2>/dev/null; then
            tail -n 20 "$DIR/log/$name.log" >&2 || true
            fail "$name has ended; its log is $DIR/log/$name.log"
        fi
        [ $((SECONDS - begun)) -lt 120 ] || fail "$name was not ready within 120 s; logs are in $DIR/log"
        sleep 0.2
    done
    log "$name is ready"
}
