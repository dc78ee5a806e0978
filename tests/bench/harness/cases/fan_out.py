"""CPU per delivery and delivery latency, as ratios to the floor: one big room, and many small ones.

The node gets its messages from a client that publishes and is answered; that work is in its CPU per delivery.
The floor gets them from its control connection.

Under backlog there are two floors: one joins the messages of a room that wait together, one sends each by itself.
In a big room the bar is about the first, in small rooms about the second: docs/decisions/2026-11-21-backlog-in-small-rooms.md.
"""

from ..load import check_same_bytes, cpu_per_delivery
from ..rounds import interleave, warm_up
from ..stats import Spread, paired

UNBATCHED = {"bar": 1.15, "goal": 1.05}
BACKLOG = {"bar": 0.8, "goal": 0.6}
LATENCY = {"bar": 1.15, "goal": 1.05}

JOINED, UNJOINED = "floor", "one send per message"


def one_room(bench):
    members = bench.scale.members
    case = f"one room of {members:,}"
    paces = [
        ("1 message in flight", {"in-flight-per-room": 1}, UNBATCHED),
        ("8 in flight", {"in-flight-per-room": 8}, BACKLOG),
        ("16 in flight", {"in-flight-per-room": 16}, BACKLOG),
    ]
    # Rounds and seconds: a pass over the room takes 10 ms, so a slice has to be long to hold many.
    _fan_out(bench, case, 1, members, paces, backlog_floor=JOINED, latency=(2, 0.3))


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
    # What disturbs a slice for a hundredth of its time is its p99: short slices are often free of it, long ones hardly.
    _fan_out(bench, case, rooms, size, paces, backlog_floor=UNJOINED, latency=(8, 0.1))


def _fan_out(bench, case, rooms, size, paces, backlog_floor, latency):
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
        disturbed = reports.disturbed
        bar_is_about = backlog_floor if bars is BACKLOG else JOINED
        for base in (subject.name for subject in compared if subject.name != node.name):
            ratio = paired(cpu_us[node.name], cpu_us[base])
            held_against = bars if base == bar_is_about else {}
            bench.found(case, f"CPU per delivery ÷ {base}, {name}", ratio, **held_against, disturbed=disturbed)
        spread = Spread.of(cpu_us[floor.name])
        bench.found(case, f"CPU per delivery of the floor, {name}", spread, unit="µs", disturbed=disturbed)

    rate = scale.open_loop_deliveries
    plan = {"pace": {"per-second": rate / size}, "pause_us": 5}
    warm_up(bench, subjects[:2], scale.warm_seconds, **plan)
    times, seconds = latency
    reports = interleave(bench, subjects[:2], times * scale.rounds, seconds=min(seconds, 2 * scale.slice_seconds), **plan)
    name = f"{rate:,} deliveries/s"
    bench.keep(case, name, reports)
    for quantile, bars in (("p50", {}), ("p99", LATENCY)):
        us = {subject: [report["latency_us"][quantile] for report in slices] for subject, slices in reports.items()}
        ratio, floor_us = paired(us[node.name], us[floor.name]), Spread.of(us[floor.name])
        bench.found(case, f"{quantile} delivery ÷ floor, {name}", ratio, **bars, disturbed=reports.disturbed)
        bench.found(case, f"{quantile} delivery of the floor, {name}", floor_us, unit="µs", disturbed=reports.disturbed)
