"""The same fan-out from Node `ws` and Socket.IO, with natter and the floor in the same run.

The peers get each message ready-made by a control connection, as the floor does, and send frames of the same length.
"""

from ..load import check_same_bytes, cpu_per_delivery, interleave
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
    interleave(bench.load, subjects, 1, pace={"in-flight-per-room": 1}, seconds=2 * scale.warm_seconds, pause_us=100)

    for window in (1, 8):
        plan = {"pace": {"in-flight-per-room": window}, "pause_us": 100}
        interleave(bench.load, subjects, 1, seconds=scale.warm_seconds, **plan)
        reports = interleave(bench.load, subjects, scale.peer_rounds, seconds=scale.slice_seconds * 5 / 3, **plan)
        bench.keep(case, f"{window} in flight", reports)
        bench.note(case, f"bytes per delivery, {window} in flight", check_same_bytes(reports))
        base = cpu_per_delivery(reports["floor"])
        for name in ("natter", "node ws", "Socket.IO"):
            ratio = paired(cpu_per_delivery(reports[name]), base)
            bench.found(case, f"CPU per delivery ÷ floor, {window} in flight, {name}", ratio)

    for rate in scale.sweep:
        plan = {"pace": {"per-second": rate / scale.peer_members}, "pause_us": 20}
        reports = interleave(bench.load, subjects, max(1, scale.peer_rounds * 2 // 3), seconds=scale.warm_seconds, **plan)
        bench.keep(case, f"{rate:,} deliveries/s", reports)
        for name, slices in reports.items():
            p99_ms = Spread.of([report["latency_us"]["p99"] / 1e3 for report in slices])
            late = Spread.of([report["drain_seconds"] for report in slices]).median
            sustained = "" if late < 0.25 * scale.warm_seconds else ", not sustained"
            bench.found(case, f"p99 delivery at {rate:,}/s, {name}{sustained}", p99_ms, unit="ms")
