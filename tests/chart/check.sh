#!/usr/bin/env bash
# Checks the chart's alerts and dashboards: check.sh FOLDER-OF-PROGRAMS
set -euo pipefail

bin=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
"$bin/promtool" check rules charts/natter/files/alerts/natter.yaml
"$bin/promtool" test rules tests/chart/alerts_test.yaml
python3 tests/chart/documented.py
