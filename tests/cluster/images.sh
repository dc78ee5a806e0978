#!/usr/bin/env bash
# Builds the programs as static ones, and writes an image archive of each: images.sh FOLDER [PROFILE]
#
# The folder gets chat-node.tar, operator.tar, nats-server.tar and in-cluster.tar, for `cluster.sh load` or `kind load image-archive`.
# PROFILE is cargo's; `dev` builds in a third of the time of `release`. What users get is built by the Dockerfiles beside the programs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
profile=${2:-dev}
bin=$top/target/cluster/bin

# glibc can be linked in, so no other target has to be installed. With --target the flag does not reach build scripts.
target=$(rustc -vV | awk '/^host:/ { print $2 }')
build=${CARGO_TARGET_DIR:-$top/target}
# PACKAGE:PROGRAM:IMAGE
programs=(chat-node:chat-node:chat-node natter-tests:in-cluster:in-cluster natter-operator:natter-operator:operator)
arguments=()
for entry in "${programs[@]}"; do
    IFS=: read -r package program _ <<<"$entry"
    arguments+=(-p "$package" --bin "$program")
done
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --manifest-path "$top/Cargo.toml" \
    --profile "$profile" --target "$target" --target-dir "$build" "${arguments[@]}"

# image NAME:TAG PROGRAM: the program is /PROGRAM in it.
image() {
    local name=${1%%:*} program=/${2##*/}
    # What a debugger reads is most of a program's size, and every node of a test cluster keeps a copy.
    strip --strip-debug -o "$out/$name" "$2"
    python3 "$here/image.py" "$out/$name.tar" "natter.dev/$1" "$program" "$out/$name=$program"
    rm "$out/$name"
    echo "natter.dev/$1 is in $out/$name.tar ($(stat -c %s "$out/$name.tar" | numfmt --to=iec))"
}

folder=$build/$target/$profile
[ "$profile" != dev ] || folder=$build/$target/debug
for entry in "${programs[@]}"; do
    IFS=: read -r _ program name <<<"$entry"
    image "$name:test" "$folder/$program"
done
version=$(awk '$1 == "github.com/nats-io/nats-server/v2" && $2 ~ /^v/ { print substr($2, 2) }' "$here/tools/go.mod")
image "nats-server:$version" "$bin/nats-server"
