#!/usr/bin/env bash
# Runs one step of the Makefile, says what it does and how long it took: step.sh TITLE COMMAND [ARGUMENT...]
set -uo pipefail

title=$1
shift
printf '\n==> %s\n    %s\n' "$title" "$*"
"$@"
status=$?
if [ "$status" -eq 0 ]; then
    printf '<== %s: done in %d s\n' "$title" "$SECONDS"
else
    printf '<== %s: FAILED with exit code %d after %d s\n' "$title" "$status" "$SECONDS" >&2
fi
exit "$status"
