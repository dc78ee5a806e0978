"""CPU per delivery and delivery latency, as ratios to the floor: one big room, and many small ones.

The node gets its messages from a client that publishes and is answered; that work is in its CPU per delivery.
The floor gets them from its control connection.
"""

from ..load import check_same_bytes, cpu_per_delivery, interleave
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
    node, floor = bench.servers.node(), bench.servers.floor()
    subjects = [bench.load.subject(floor, rooms=rooms), bench.load.subject(node, rooms=rooms)]
    for subject in subjects:
        bench.load.open(subject, rooms * size)
    bench.note(case, "frame", bench.load.learn(subjects[1]))

    for name, pace, bars in paces:
        plan = {"pace": pace, "pause_us": 100}
        interleave(bench.load, subjects, 1, seconds=scale.warm_seconds, **plan)
        reports = interleave(bench.load, subjects, scale.rounds, seconds=scale.slice_seconds, **plan)
        bench.keep(case, name, reports)
        bench.note(case, f"bytes per delivery, {name}", check_same_bytes(reports))
        node_us, floor_us = (cpu_per_delivery(reports[subject]) for subject in ("natter", "floor"))
        bench.found(case, f"CPU per delivery ÷ floor, {name}", paired(node_us, floor_us), **bars)
        bench.found(case, f"CPU per delivery of the floor, {name}", Spread.of(floor_us), unit="µs")

    rate = scale.open_loop_deliveries
    plan = {"pace": {"per-second": rate / size}, "pause_us": 5}
    interleave(bench.load, subjects, 1, seconds=scale.warm_seconds, **plan)
    reports = interleave(bench.load, subjects, scale.rounds, seconds=max(scale.slice_seconds, 0.1) * 5 / 3, **plan)
    name = f"{rate:,} deliveries/s"
    bench.keep(case, name, reports)
    node_us, floor_us = ([report["latency_us"]["p99"] for report in reports[subject]] for subject in ("natter", "floor"))
    bench.found(case, f"p99 delivery ÷ floor, {name}", paired(node_us, floor_us), **LATENCY)
    bench.found(case, f"p99 delivery of the floor, {name}", Spread.of(floor_us), unit="µs")
