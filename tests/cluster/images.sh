#!/usr/bin/env bash
# Writes an image archive of each program, for `cluster.sh load` or `kind load image-archive`: images.sh FOLDER
#
# The folder gets chat-node.tar (as :test and as :next), operator.tar, nats-server.tar and in-cluster.tar. The programs are those that the
# other tests build too, with the libraries that they need; what users get is static, and built by the Dockerfiles beside the programs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
bin=$top/target/cluster/bin
build=${CARGO_TARGET_DIR:-$top/target}

# image FILE NAME:TAG[,NAME:TAG…] PROGRAM: the program is /FILE in it.
image() {
    local file=$1 names=$2 library pairs
    # What a debugger reads is most of a program's size, and every node of a test cluster keeps a copy.
    strip --strip-debug -o "$out/$file" "$3"
    pairs=("$out/$file=/$file")
    for library in $(ldd "$out/$file" 2>/dev/null | grep -o '/[^ ]*' || true); do
        pairs+=("$library=$library")
    done
    python3 "$here/image.py" "$out/$file.tar" "$names" "/$file" "${pairs[@]}"
    rm "$out/$file"
    echo "$names is in $out/$file.tar ($(stat -c %s "$out/$file.tar" | numfmt --to=iec))"
}

cd "$top"
# As tests build them, features of crates included, so that nothing is compiled twice: the node by itself, the others as the tests' own.
cargo build --locked -p chat-node
cargo test --locked --workspace --no-run --test "kubernetes_*" --test config_contract
image chat-node natter.dev/chat-node:test,natter.dev/chat-node:next "$build/debug/chat-node"
image natter-operator natter.dev/operator:test "$build/debug/natter-operator"
image in-cluster natter.dev/in-cluster:test "$build/debug/in-cluster"
version=$(awk '$1 == "github.com/nats-io/nats-server/v2" && $2 ~ /^v/ { print substr($2, 2) }' "$here/tools/go.mod")
image nats-server "natter.dev/nats-server:$version" "$bin/nats-server"
