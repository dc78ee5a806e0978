"""CPU per delivery and delivery latency, as ratios to the floor: one big room, and many small ones.

The node gets its messages from a client that publishes and is answered; that work is in its CPU per delivery.
The floor gets them from its control connection.
"""

from ..load import check_same_bytes, cpu_per_delivery
from ..rounds import interleave, warm_up
from ..stats import Spread, paired

UNBATCHED = {"bar": 1.15, "goal": 1.05}
BACKLOG = {"bar": 0.8, "goal": 0.6}
LATENCY = {"bar": 1.15, "goal": 1.05}


def one_room(bench):
    members = bench.scale.members
    case = f"one room of {members:,}"
    paces = [
        ("1 message in flight", {"in-flight-per-room": 1}, UNBATCHED),
        ("8 in flight", {"in-flight-per-room": 8}, BACKLOG),
        ("16 in flight", {"in-flight-per-room": 16}, BACKLOG),
    ]
    _fan_out(bench, case, 1, members, paces)


def small_rooms(bench):
    size = bench.scale.room_size
    rooms = bench.scale.members // size
    case = f"{rooms} rooms of {size}"
    paces = [
        ("1 message in flight", {"in-flight": 1}, UNBATCHED),
        ("1 in flight in each room", {"in-flight-per-room": 1}, UNBATCHED),
        ("8 in flight in each room", {"in-flight-per-room": 8}, BACKLOG),
        ("16 in flight in each room", {"in-flight-per-room": 16}, BACKLOG),
    ]
    _fan_out(bench, case, rooms, size, paces)


def _fan_out(bench, case, rooms, size, paces):
    scale = bench.scale
    floor, node, unjoined = bench.servers.floor(), bench.servers.node(), bench.servers.unjoined_floor()
    subjects = [bench.load.subject(server, rooms=rooms) for server in (floor, node, unjoined)]
    for subject in subjects:
        bench.load.open(subject, rooms * size)
    bench.note(case, "frame", bench.load.learn(subjects[1]))

    for name, pace, bars in paces:
        # Without a backlog there is nothing to join, and both floors are the same.
        compared = subjects if bars is BACKLOG else subjects[:2]
        plan = {"pace": pace, "pause_us": 100}
        warm_up(bench, compared, scale.warm_seconds, **plan)
        reports = interleave(bench, compared, scale.rounds, seconds=scale.slice_seconds, **plan)
        bench.keep(case, name, reports)
        bench.note(case, f"bytes per delivery, {name}", check_same_bytes(reports))
        cpu_us = {subject: cpu_per_delivery(slices) for subject, slices in reports.items()}
        ratio = paired(cpu_us[node.name], cpu_us[floor.name])
        disturbed = reports.disturbed
        bench.found(case, f"CPU per delivery ÷ floor, {name}", ratio, **bars, disturbed=disturbed)
        if unjoined.name in cpu_us:
            ratio = paired(cpu_us[node.name], cpu_us[unjoined.name])
            bench.found(case, f"CPU per delivery ÷ one send per message, {name}", ratio, disturbed=disturbed)
        spread = Spread.of(cpu_us[floor.name])
        bench.found(case, f"CPU per delivery of the floor, {name}", spread, unit="µs", disturbed=disturbed)

    rate = scale.open_loop_deliveries
    plan = {"pace": {"per-second": rate / size}, "pause_us": 5}
    warm_up(bench, subjects[:2], scale.warm_seconds, **plan)
    # Twice the rounds: a disturbance of a few milliseconds is the p99 of its slice, so many slices must be free of it.
    reports = interleave(bench, subjects[:2], 2 * scale.rounds, seconds=max(scale.slice_seconds, 0.1), **plan)
    name = f"{rate:,} deliveries/s"
    bench.keep(case, name, reports)
    for quantile, bars in (("p50", {}), ("p99", LATENCY)):
        us = {subject: [report["latency_us"][quantile] for report in slices] for subject, slices in reports.items()}
        ratio, floor_us = paired(us[node.name], us[floor.name]), Spread.of(us[floor.name])
        bench.found(case, f"{quantile} delivery ÷ floor, {name}", ratio, **bars, disturbed=reports.disturbed)
        bench.found(case, f"{quantile} delivery of the floor, {name}", floor_us, unit="µs", disturbed=reports.disturbed)
