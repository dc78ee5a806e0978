#!/usr/bin/env bash
# Runs the tests that need a Kubernetes: e2e.sh [--full] [ARGUMENT...], as for `cargo test -- --ignored`: a part of the names of those that are wanted
#
# tests/tests/kubernetes_*.rs, each in a namespace of its own, two at a time. With --full also tests/tests/kubernetes_full_*.rs, which take long
# or the cluster to themselves: after the others, one at a time.
# Without KUBECONFIG a cluster is started for them on this machine and removed afterwards. With it they run there: kubectl and helm must be
# in PATH, and the images of `make images` in every node (`kind load image-archive target/cluster/images/chat-node.tar` and so on).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
quick=() long=()
for file in tests/tests/kubernetes_*.rs; do
    file=$(basename "$file" .rs)
    case $file in
    kubernetes_full_*) long+=(--test "$file") ;;
    *) quick+=(--test "$file") ;;
    esac
done
if [ "${1:-}" = --full ]; then
    shift
else
    long=()
fi
tests=(cargo test --locked --workspace --no-fail-fast)
wanted=(--ignored --nocapture "$@")

# run COMMAND...: all tests, by a command that runs a command.
run() {
    local status=0
    "$@" "${tests[@]}" "${quick[@]}" -- --test-threads 2 "${wanted[@]}" || status=$?
    [ ${#long[@]} = 0 ] || "$@" "${tests[@]}" "${long[@]}" -- --test-threads 1 "${wanted[@]}" || status=$?
    return "$status"
}

if [ -n "${KUBECONFIG:-}" ]; then
    kubectl version
    run env
    exit
fi

# Two checkouts may do this at once.
name=e2e$$
cluster() { "$here/cluster.sh" -n "$name" "$@"; }
finish() {
    local status=$?
    if [ "$status" != 0 ] && [ -d "target/cluster/run/$name/log" ]; then
        rm -rf target/cluster/failed
        cp -r "target/cluster/run/$name/log" target/cluster/failed
        echo "the cluster's logs are in target/cluster/failed" >&2
    fi
    cluster down
    exit "$status"
}
# Inside the cluster's network there is no way to a package registry.
"${tests[@]}" "${quick[@]}" "${long[@]}" --no-run
trap finish EXIT
cluster up 3
for image in target/cluster/images/*.tar; do
    cluster load "$image"
done
run cluster exec env CARGO_NET_OFFLINE=true
