"""Every metric that an alert or a dashboard uses stands in docs/operations.md, and so does every alert."""

import json
import pathlib
import re
import sys

top = pathlib.Path(__file__).parents[2]
docs = (top / "docs/operations.md").read_text()
alerts = (top / "charts/natter/files/alerts/natter.yaml").read_text()
dashboards = (top / "charts/natter/files/dashboards").glob("*.json")

expressions = re.findall(r"expr: (?:>-\n((?:      .*\n)+)|(.*))", alerts)
expressions = ["".join(expression) for expression in expressions]
names = re.findall(r"- alert: (\w+)", alerts)
assert len(expressions) == len(names) > 0
for dashboard in dashboards:
    panels = json.loads(dashboard.read_text())["panels"]
    expressions += [target["expr"] for panel in panels for target in panel.get("targets", [])]

used = set(re.findall(r"\b(?:natter|process)_\w+", " ".join(expressions)))
metrics = {re.sub(r"_bucket$", "", name) for name in used}
missing = sorted(name for name in metrics | set(names) if f"`{name}" not in docs)
if missing:
    sys.exit(f"not in docs/operations.md: {', '.join(missing)}")
print(f"{len(names)} alerts and {len(metrics)} metrics are documented")
