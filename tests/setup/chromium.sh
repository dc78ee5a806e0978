#!/usr/bin/env bash
# Makes sure that the page's tests have a Chromium: /usr/bin/chromium, or the one that $CHROMIUM names.
set -euo pipefail

chromium=${CHROMIUM:-/usr/bin/chromium}
if [ ! -x "$chromium" ]; then
    if [ -n "${CHROMIUM:-}" ]; then
        echo "CHROMIUM is $chromium, which is no program" >&2
        exit 1
    fi
    "$(dirname "$0")/apt.sh" chromium
fi
"$chromium" --version --no-sandbox
