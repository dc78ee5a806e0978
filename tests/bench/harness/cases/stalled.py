"""One member in a hundred stops reading: what do the others still get, on the same node?

Slices without and with stalled members alternate. Before a slice with them, messages are sent until the
kernel holds unsent data for every stalled one; the slice then covers what the node does about them.
"""

from ..accounting import stuck_sockets
from ..load import Void, cpu_per_delivery
from ..stats import Spread, paired

SMALLEST_BUFFER = 4096
PREFILLS = 40


def stalled(bench):
    scale = bench.scale
    node = bench.servers.node()
    subject = bench.load.subject(node)
    bench.load.open(subject, scale.live_members)
    count = max(1, scale.live_members // 100)
    plan = {"pace": {"in-flight-per-room": 8}, "message_bytes": scale.stalled_bytes, "pause_us": 100}
    bench.load.slice(subject, seconds=scale.warm_seconds, **plan)

    without, with_stalled, kept, unread = [], [], [], []
    for _ in range(scale.rounds):
        without.append(bench.load.slice(subject, seconds=scale.slice_seconds, **plan))
        bench.load.ask("stall", target=subject.target, count=count, room=0, receive_buffer=SMALLEST_BUFFER)
        _fill(bench, subject, count, plan)
        with_stalled.append(bench.load.slice(subject, seconds=scale.slice_seconds, **plan))
        kept.append(stuck_sockets(node.port))
        unread.append(min(bench.load.ask("unstall")["unread_bytes"]))

    case = f"{count} of {scale.live_members + count:,} members stalled, {scale.stalled_bytes:,}-byte messages"
    bench.keep(case, "8 in flight", {"without": without, "with": with_stalled})
    bench.note(case, "stalled members still connected after each slice", kept)
    bench.note(case, "fewest bytes a stalled member left unread", unread)
    bench.found(
        case,
        "throughput of the others ÷ without stalled",
        paired(_throughput(with_stalled), _throughput(without)),
        bar=0.99,
        higher_is_better=True,
    )
    cpu = paired(cpu_per_delivery(with_stalled), cpu_per_delivery(without))
    bench.found(case, "CPU per live delivery ÷ without stalled", cpu)
    bench.found(case, "live deliveries without stalled", Spread.of(_throughput(without)), unit="/s")


def _fill(bench, subject, count, plan):
    for _ in range(PREFILLS):
        bench.load.slice(subject, seconds=bench.scale.slice_seconds / 3, **plan)
        if stuck_sockets(subject.server.port) >= count:
            return
    raise Void(f"only {stuck_sockets(subject.server.port)} of {count} members that do not read are stuck")


def _throughput(reports):
    return [report["deliveries"] / report["seconds"] for report in reports]
