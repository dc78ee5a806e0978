#!/usr/bin/env bash
# Builds the nats-server that tests run against, unless it is there: nats_server.sh FOLDER
set -euo pipefail

# Tests with TLS make certificates.
command -v openssl >/dev/null || "$(dirname "$0")/apt.sh" openssl

folder=$1 module=$(dirname "$0")/nats
version=$(awk '$1 == "github.com/nats-io/nats-server/v2" { print $2 }' "$module/go.mod")
if [ "$("$folder/nats-server" --version 2>/dev/null)" = "nats-server: $version" ]; then
    echo "$folder/nats-server is version $version"
    exit
fi
if ! command -v go >/dev/null; then
    echo "missing: Go 1.26 or newer, to build nats-server $version" >&2
    exit 1
fi
mkdir -p "$folder"
# -mod=readonly: what is built is what go.sum says.
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -C "$module" -trimpath -buildvcs=false -ldflags "-s -w" \
    -o "$(cd "$folder" && pwd)/nats-server" github.com/nats-io/nats-server/v2
"$folder/nats-server" --version
