#!/usr/bin/env bash
# Installs the npm packages of a folder as its lock file says, unless they are there: npm_packages.sh FOLDER
set -euo pipefail

folder=$1
if ! command -v npm >/dev/null; then
    echo "missing: Node.js 20 or newer with npm, for the tests in $folder" >&2
    exit 1
fi
# npm removes node_modules before it installs, so a stamp inside never outlives what it vouches for.
stamp=$folder/node_modules/.installed
wanted=$(cat "$folder/package.json" "$folder/package-lock.json" "$folder/.npmrc" | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    echo "$folder/node_modules is what package-lock.json says"
    exit
fi
npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts
echo "$wanted" >"$stamp"
