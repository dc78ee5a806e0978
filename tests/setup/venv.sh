#!/usr/bin/env bash
# Makes a Python environment with pinned packages, unless it is there: venv.sh FOLDER REQUIREMENTS
set -euo pipefail

folder=$1 requirements=$2
if ! command -v python3 >/dev/null; then
    echo "missing: Python 3.11 or newer, for $requirements" >&2
    exit 1
fi
# A stamp inside the environment, as making it anew removes it.
stamp=$folder/.installed
wanted=$({ python3 --version && cat "$requirements"; } | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    echo "$folder is what $requirements says"
    exit
fi
# Debian ships Python without the module that puts pip into an environment.
python3 -c 'import ensurepip' 2>/dev/null || "$(dirname "$0")/apt.sh" python3-venv
python3 -m venv --clear "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
echo "$wanted" >"$stamp"
"$folder/bin/pip" list --disable-pip-version-check
