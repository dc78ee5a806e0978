#!/usr/bin/env bash
# Checks the chart without a cluster: check.sh FOLDER-OF-PROGRAMS. The API server's own opinion comes with `make e2e`.
set -euo pipefail

bin=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
chart=charts/natter

everything=sample.enabled=true,monitoring.podMonitors.enabled=true,monitoring.alerts.enabled=true,monitoring.dashboards.enabled=true
for values in crds.keep=true crds.keep=false crds.install=false watchNamespace=default "$everything" "replicas=1,$everything"; do
    "$bin/helm" lint --strict --quiet "$chart" --set "$values"
done
if said=$("$bin/helm" template natter "$chart" --set replica=3 2>&1); then
    echo "a misspelt value was not refused" >&2
    exit 1
elif ! grep -q "'replica' not allowed" <<<"$said"; then
    echo "a misspelt value was refused for another reason: $said" >&2
    exit 1
fi
if "$bin/helm" template natter "$chart" --set "watchNamespace=chat,$everything" 2>/dev/null; then
    echo "a sample that no operator sees was not refused" >&2
    exit 1
fi
# What may do everything is not minimal.
if "$bin/helm" template natter "$chart" --set "$everything" --show-only templates/roles.yaml | grep -nF '*'; then
    echo "a role contains a *" >&2
    exit 1
fi

"$bin/promtool" check rules "$chart/files/alerts/natter.yaml"
"$bin/promtool" test rules tests/chart/alerts_test.yaml

python3 charts/values_table.py "$chart/values.yaml" "$chart/README.md" --check
python3 tests/chart/documented.py
