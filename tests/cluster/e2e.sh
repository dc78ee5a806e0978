#!/usr/bin/env bash
# Runs the tests that need a Kubernetes: e2e.sh [ARGUMENT...], as for `cargo test -- --ignored`: a part of the names of those that are wanted
#
# Without KUBECONFIG a cluster is started for them on this machine and removed afterwards. With it they run there: kubectl and helm must be
# in PATH, and the images of `make images` in every node (`kind load image-archive target/cluster/images/chat-node.tar` and so on).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
tests=(cargo test --locked --workspace --test 'kubernetes_*')
run=("${tests[@]}" -- --ignored --nocapture --test-threads 2 "$@")

if [ -n "${KUBECONFIG:-}" ]; then
    kubectl version
    exec "${run[@]}"
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
"${tests[@]}" --no-run
trap finish EXIT
cluster up 3
for image in target/cluster/images/*.tar; do
    cluster load "$image"
done
cluster exec env CARGO_NET_OFFLINE=true "${run[@]}"
