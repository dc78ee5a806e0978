"""Publishes that one node accepts and acknowledges on one core.

Many clients, each alone in a room of its own, so that a publish costs one delivery: the publisher's own copy.
"""

from ..load import interleave
from ..stats import Spread


def inbound(bench):
    scale = bench.scale
    case = f"{scale.publishers} publishers, each alone in its room"
    subject = bench.load.subject(bench.servers.node(), rooms=scale.publishers, publishers="member")
    bench.load.open(subject, scale.publishers)
    for window in (1, 8, 32):
        plan = {"pace": {"in-flight-per-room": window}}
        bench.load.slice(subject, seconds=scale.warm_seconds, **plan)
        reports = interleave(bench.load, [subject], scale.rounds, seconds=scale.slice_seconds, **plan)
        bench.keep(case, f"{window} in flight each", reports)
        slices = reports[subject.name]
        published = Spread.of([report["acknowledged"] / report["seconds"] for report in slices])
        cost = Spread.of([report["cpu_us"] / report["acknowledged"] for report in slices])
        core = Spread.of([report["cpu_us"] / 1e6 / report["seconds"] for report in slices])
        bench.found(case, f"publishes acknowledged, {window} in flight each", published, unit="/s")
        bench.found(case, f"CPU per publish and its delivery, {window} in flight each", cost, unit="µs")
        bench.found(case, f"the node's core in use, {window} in flight each", core, unit="cores")
