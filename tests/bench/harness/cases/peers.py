"""The same fan-out from Node `ws` and Socket.IO, with natter and the floor in the same run.

The peers get each message ready-made by a control connection, as the floor does, and send frames of the same length.
"""

from ..load import check_same_bytes, cpu_per_delivery
from ..rounds import interleave, warm_up
from ..servers import peers_missing
from ..stats import Spread, paired


def peers(bench):
    missing = peers_missing()
    if missing:
        bench.say(f"peers: skipped, {missing}")
        return
    scale = bench.scale
    servers = bench.servers
    started = [servers.floor(), servers.node(), servers.node_ws(), servers.socket_io()]
    subjects = [bench.load.subject(server) for server in started]
    for subject in subjects:
        bench.load.open(subject, scale.peer_members)
    bench.load.learn(subjects[1])
    case = f"peers, one room of {scale.peer_members:,}"
    # Just-in-time compilers need a while before they show what they can do.
    warm_up(bench, subjects, 2 * scale.warm_seconds, pace={"in-flight-per-room": 1}, pause_us=100)

    for window in (1, 8):
        plan = {"pace": {"in-flight-per-room": window}, "pause_us": 100}
        warm_up(bench, subjects, scale.warm_seconds, **plan)
        reports = interleave(bench, subjects, scale.peer_rounds, seconds=scale.slice_seconds * 5 / 3, **plan)
        bench.keep(case, f"{window} in flight", reports)
        bench.note(case, f"bytes per delivery, {window} in flight", check_same_bytes(reports))
        cpu_us = {name: cpu_per_delivery(slices) for name, slices in reports.items()}
        for name in ("natter", "node ws", "Socket.IO"):
            ratio = paired(cpu_us[name], cpu_us["floor"])
            measure = f"CPU per delivery ÷ floor, {window} in flight, {name}"
            bench.found(case, measure, ratio, disturbed=reports.disturbed)

    for rate in scale.sweep:
        plan = {"pace": {"per-second": rate / scale.peer_members}, "pause_us": 20}
        reports = interleave(bench, subjects, max(1, scale.peer_rounds // 2), seconds=scale.warm_seconds, **plan)
        bench.keep(case, f"{rate:,} deliveries/s", reports)
        for name, slices in reports.items():
            p99_ms = Spread.of([report["latency_us"]["p99"] / 1e3 for report in slices])
            late = Spread.of([report["drain_seconds"] for report in slices]).median
            sustained = "" if late < 0.25 * scale.warm_seconds else ", not sustained"
            measure = f"p99 delivery at {rate:,}/s, {name}{sustained}"
            bench.found(case, measure, p99_ms, unit="ms", disturbed=reports.disturbed)
