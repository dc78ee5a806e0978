#!/usr/bin/env bash
# Runs a command, and builds Kubernetes with what it leaves of the CPU: ahead.sh COMMAND [ARGUMENT...]
#
# Tests wait a lot, and the first build takes 10 minutes. Nothing is built where the cluster tests cannot run or are given a cluster. A build
# that fails is tried again, and told of, by those who need it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../target/cluster
log=target/cluster/build.log
mkdir -p "$target"

build() {
    [ -z "${KUBECONFIG:-}" ] || exit 0
    "$here/cluster.sh" check
    nice -n 19 "$here/build.sh" "$target/bin"
    nice -n 19 "$here/build.sh" "$target/bin" promtool
}

echo "building Kubernetes meanwhile, for the cluster tests: $log"
(build) >"$target/build.log" 2>&1 &
building=$!
status=0
"$@" || status=$?
if kill -0 "$building" 2>/dev/null; then
    echo "waiting for Kubernetes to be built: $log"
fi
wait "$building" || true
exit "$status"
