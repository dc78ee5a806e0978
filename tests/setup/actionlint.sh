#!/usr/bin/env bash
# Builds the linter of workflows, unless it is there: actionlint.sh FOLDER
set -euo pipefail

version=1.7.12
folder=$1
if [ "$("$folder/actionlint" --version 2>/dev/null | head -n 1)" = "v$version" ]; then
    echo "$folder/actionlint is version $version"
    exit
fi
if ! command -v go >/dev/null; then
    echo "missing: Go 1.25 or newer, to build actionlint $version" >&2
    exit 1
fi
mkdir -p "$folder"
GOBIN=$(cd "$folder" && pwd) GOFLAGS=-mod=mod go install "github.com/rhysd/actionlint/cmd/actionlint@v$version"
"$folder/actionlint" --version
