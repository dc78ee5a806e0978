"""One member in a hundred stops reading: what do the others still get, on the same node?

Slices without and with stalled members alternate. Before a slice with them, messages are sent until the kernel
takes no more for any of them: from then on they are the node's problem, and the slice shows what that costs others.
"""

from ..accounting import unsent_bytes
from ..load import Void, cpu_per_delivery
from ..rounds import play
from ..stats import Spread, paired

SMALLEST_BUFFER = 4096
MOST_FILLS = 60


def stalled(bench):
    scale = bench.scale
    node = bench.servers.node()
    subject = bench.load.subject(node)
    bench.load.open(subject, scale.live_members)
    count = max(1, scale.live_members // 100)
    plan = {"pace": {"in-flight-per-room": 8}, "message_bytes": scale.stalled_bytes, "pause_us": 100}
    bench.load.slice(subject, seconds=scale.warm_seconds, **plan)

    def one_round():
        bench.load.slice(subject, seconds=scale.slice_seconds / 3, **plan)
        without = bench.load.slice(subject, seconds=scale.slice_seconds, **plan)
        answer = bench.load.ask("stall", target=subject.target, count=count, room=0, receive_buffer=SMALLEST_BUFFER)
        ports = set(answer["ports"])
        _fill(bench, subject, ports, plan)
        with_stalled = bench.load.slice(subject, seconds=scale.slice_seconds, **plan)
        held = unsent_bytes(node.port, ports)
        bench.load.ask("unstall")
        return without, with_stalled, held

    rounds = play(bench, [node], one_round, scale.rounds)
    without, with_stalled, held = map(list, zip(*rounds))

    case = f"{count} of {scale.live_members + count:,} members stalled, {scale.stalled_bytes:,}-byte messages"
    bench.keep(case, "8 in flight", {"without": without, "with": with_stalled})
    bench.note(case, "stalled members still connected after each slice", [len(sockets) for sockets in held])
    bench.note(case, "bytes the kernel held for each of them", [sorted(set(sockets.values())) for sockets in held])

    def found(measure, spread, **how):
        bench.found(case, measure, spread, disturbed=rounds.disturbed, **how)

    ratio = paired(_throughput(with_stalled), _throughput(without))
    found("throughput of the others ÷ without stalled", ratio, bar=0.99, higher_is_better=True)
    ratio = paired(cpu_per_delivery(with_stalled), cpu_per_delivery(without))
    found("CPU per live delivery ÷ without stalled", ratio)
    found("live deliveries without stalled", Spread.of(_throughput(without)), unit="/s")


def _fill(bench, subject, ports, plan):
    """Sends until the kernel holds something for every stalled member and takes no more, or the node closed it."""
    before = {}
    for _ in range(MOST_FILLS):
        bench.load.slice(subject, seconds=bench.scale.slice_seconds / 3, **plan)
        held = unsent_bytes(subject.server.port, ports)
        if held == before and all(held.values()):
            return
        before = held
    raise Void(f"{len(ports)} members do not read, and yet the kernel takes more for them: {held}")


def _throughput(reports):
    return [report["deliveries"] / report["seconds"] for report in reports]
