#!/usr/bin/env bash
# Runs every fuzz target for a while: fuzz.sh SECONDS
set -euo pipefail

seconds=$1
if ! rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    echo "missing: a nightly compiler, as libFuzzer needs one: rustup toolchain install nightly" >&2
    exit 1
fi
if ! cargo +nightly fuzz --version 2>/dev/null; then
    echo "missing: cargo-fuzz: cargo install cargo-fuzz" >&2
    exit 1
fi
for target in $(cargo +nightly fuzz list --fuzz-dir tests/fuzz); do
    "$(dirname "$0")/step.sh" "Fuzz $target for $seconds s" \
        cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" -- -max_total_time="$seconds"
done
