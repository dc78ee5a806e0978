#!/usr/bin/env bash
# Installs Debian packages, or says how to do it by hand: apt.sh PACKAGE...
set -euo pipefail

by_hand="apt-get install -y --no-install-recommends $*"
if ! command -v apt-get >/dev/null; then
    echo "missing: $*. This system has no apt-get: install the same by its own package manager" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "missing: $*. Install it as root: $by_hand" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "$@"
