"""One member in a hundred stops reading: what do the others still get, on the same node?

A slice with stalled members stands between two without, and is compared with their mean. Before it, big messages
are sent until the kernel takes no more for any stalled member: from then on they are the node's problem, and the
slice shows what that costs others. Before the other two, big messages are sent as well: else what these leave behind,
in caches and socket buffers, would be counted as the stalled members' doing.
"""

from ..accounting import unsent_bytes
from ..load import Void, cpu_per_delivery
from ..rounds import play
from ..stats import Spread, paired

SMALLEST_BUFFER = 4096
MOST_FILLS = 60
FILL = {"pace": {"in-flight-per-room": 8}, "message_bytes": 16_384}


def stalled(bench):
    scale = bench.scale
    node = bench.servers.node()
    subject = bench.load.subject(node)
    bench.load.open(subject, scale.live_members)
    count = max(1, scale.live_members // 100)
    plan = {"pace": {"in-flight-per-room": 1}, "seconds": scale.slice_seconds, "pause_us": 100}
    bench.load.slice(subject, **{**plan, **FILL, "seconds": scale.warm_seconds})

    def settled_slice():
        """Whatever came before, big messages or closing members, has left the caches when it starts."""
        bench.load.slice(subject, **{**plan, "seconds": scale.slice_seconds / 3})
        return bench.load.slice(subject, **plan)

    def slice_without():
        bench.load.slice(subject, **{**plan, **FILL, "seconds": scale.slice_seconds})
        return settled_slice()

    def one_round():
        before = slice_without()
        answer = bench.load.ask("stall", target=subject.target, count=count, room=0, receive_buffer=SMALLEST_BUFFER)
        ports = set(answer["ports"])
        _fill(bench, subject, ports, plan)
        between = settled_slice()
        held = unsent_bytes(node.port, ports)
        bench.load.ask("unstall")
        return before, between, slice_without(), held

    rounds = play(bench, [node], one_round, 3 * scale.rounds)
    *slices, held = map(list, zip(*rounds))

    case = f"{count} of {scale.live_members + count:,} members stalled"
    bench.keep(case, "1 in flight", dict(zip(("before", "with", "after"), slices)))
    bench.note(case, "stalled members still connected after each slice", [len(sockets) for sockets in held])
    bench.note(case, "bytes the kernel held for each of them", [sorted(set(sockets.values())) for sockets in held])

    def found(measure, spread, **how):
        bench.found(case, measure, spread, disturbed=rounds.disturbed, **how)

    throughput = [[report["deliveries"] / report["seconds"] for report in some] for some in slices]
    found("throughput of the others ÷ without stalled", _beside(*throughput), bar=0.99, higher_is_better=True)
    found("CPU per live delivery ÷ without stalled", _beside(*map(cpu_per_delivery, slices)))
    found("live deliveries without stalled", Spread.of(throughput[0] + throughput[2]), unit="/s")


def _beside(before, between, after):
    return paired(between, [(first + last) / 2 for first, last in zip(before, after)])


def _fill(bench, subject, ports, plan):
    """Sends until the kernel holds something for every stalled member and takes no more, or the node closed it."""
    before = {}
    for _ in range(MOST_FILLS):
        bench.load.slice(subject, **{**plan, **FILL, "seconds": plan["seconds"] / 3})
        held = unsent_bytes(subject.server.port, ports)
        if held == before and all(held.values()):
            return
        before = held
    raise Void(f"{len(ports)} members do not read, and yet the kernel takes more for them: {held}")
