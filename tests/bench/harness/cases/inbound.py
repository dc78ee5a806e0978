"""Publishes that one node accepts and acknowledges on one core.

Many clients, each alone in a room of its own, so that a publish costs one delivery: the publisher's own copy.
"""

from ..rounds import interleave, warm_up
from ..stats import Spread


def inbound(bench):
    scale = bench.scale
    case = f"{scale.publishers} publishers, each alone in its room"
    subject = bench.load.subject(bench.servers.node(), rooms=scale.publishers, publishers="member")
    bench.load.open(subject, scale.publishers)
    for window in (1, 8, 32):
        plan = {"pace": {"in-flight-per-room": window}}
        warm_up(bench, [subject], scale.warm_seconds, **plan)
        reports = interleave(bench, [subject], scale.rounds, seconds=scale.slice_seconds, **plan)
        bench.keep(case, f"{window} in flight each", reports)
        slices = reports[subject.name]
        published = Spread.of([report["acknowledged"] / report["seconds"] for report in slices])
        cost = Spread.of([report["cpu_us"] / report["acknowledged"] for report in slices])
        core = Spread.of([report["cpu_us"] / 1e6 / report["seconds"] for report in slices])
        for measure, spread, unit in (
            ("publishes acknowledged", published, "/s"),
            ("CPU per publish and its delivery", cost, "µs"),
            ("the node's core in use", core, "cores"),
        ):
            bench.found(case, f"{measure}, {window} in flight each", spread, unit=unit, disturbed=reports.disturbed)
