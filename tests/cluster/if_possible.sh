#!/usr/bin/env bash
# Runs a command that needs a cluster of this machine's own, or says loudly why there can be none: if_possible.sh COMMAND [ARGUMENT...]
#
# With NATTER_REQUIRE_CLUSTER=1 it then fails. With KUBECONFIG the command runs: the cluster is somebody else's.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${KUBECONFIG:-}" ] || why=$("$here/cluster.sh" check 2>&1); then
    exec "$@"
fi
cat >&2 <<END
********************************************************************************
SKIPPED: $*
This machine cannot run the cluster tests:
$(tail -n 5 <<<"$why")
********************************************************************************
END
[ "${NATTER_REQUIRE_CLUSTER:-}" != 1 ]
