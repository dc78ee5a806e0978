#!/usr/bin/env bash
# Builds the program that plays scenarios with the Go SDK: sdk_go.sh FOLDER
set -euo pipefail

folder=$1
if ! command -v go >/dev/null; then
    echo "missing: Go 1.26 or newer, to build what drives the Go SDK" >&2
    exit 1
fi
mkdir -p "$folder"
# -mod=readonly: what is built is what go.sum says. What is built already costs Go nothing.
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -C "$(dirname "$0")/../sdk/go" -trimpath -buildvcs=false \
    -o "$(cd "$folder" && pwd)/sdk-go" .
echo "$folder/sdk-go is built"
