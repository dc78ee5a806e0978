"""Publish -> acknowledged and publish -> delivered on another node, beside a bare NATS client on the same stream.

Both ways take turns: the bare client publishes with `Nats-Msg-Id` and `Nats-Expected-Stream` over one connection and
takes the live copies from another, as the two nodes do. Both nodes follow the stream all the time, also while the bare
client has its turn: what that costs them is what a message of another room costs.
"""

from ..cluster import Cluster, ClusterClient, nats_missing, sync_us
from ..load import Void
from ..rounds import play
from ..stats import Spread, paired

BARS = {"p50": {"bar": 1.25}, "p99": {"bar": 1.5}}
WAYS = ("bare", "nodes")


def cluster_latency(bench):
    missing = nats_missing()
    if missing:
        bench.say(f"cluster-latency: skipped, {missing}")
        return
    for size in bench.scale.cluster_sizes:
        with Cluster(bench, size, shards=1) as cluster:
            _measure(bench, cluster, size)


def _measure(bench, cluster, size):
    scale = bench.scale
    publishing, reading = cluster.node(at=0), cluster.node(at=-1)
    addresses = [f"127.0.0.1:{node.port}" for node in (publishing, reading)]
    with ClusterClient(bench) as client:
        nats = [cluster.addresses[0], cluster.addresses[-1]]
        client.ask("open", publish_at=addresses[0], read_at=addresses[1], rooms=scale.cluster_rooms, nats=nats)

        def one_slice(way, rate, seconds):
            servers = {"publishing": [publishing], "reading": [reading], "nats": cluster.nats}
            before = {who: _cpu_ns(some) for who, some in servers.items()}
            report = client.ask("slice", way=way, rate=rate, seconds=seconds)
            if report["gaps"] or report["missing"]:
                raise Void(f"{way} at {rate}/s: {report['gaps']} out of sequence, {report['missing']} missing")
            for who, some in servers.items():
                report[f"{who}_us"] = (_cpu_ns(some) - before[who]) / 1e3 / report["published"]
            return report

        for rate in scale.cluster_rates:
            for way in WAYS:
                one_slice(way, rate, scale.warm_seconds)
            turns = iter(range(1_000_000))

            def one_round():
                # Who goes first changes, so that what drifts within a round favours nobody.
                order = WAYS if next(turns) % 2 else WAYS[::-1]
                reports = {way: one_slice(way, rate, scale.cluster_seconds) for way in order}
                return [reports[way] for way in WAYS]

            servers = [publishing, reading, client, *cluster.nats]
            rounds = play(bench, servers, one_round, scale.cluster_rounds)
            _report(bench, f"R{size}, {rate:,} messages/s", rounds)


def _report(bench, case, rounds):
    bare, nodes = ([one_round[index] for one_round in rounds] for index in range(len(WAYS)))
    bench.keep(case, "slices", dict(zip(WAYS, (bare, nodes))))
    bench.note(case, "µs to sync a small write, now", sync_us())

    def found(measure, spread, **how):
        bench.found(case, measure, spread, disturbed=rounds.disturbed, **how)

    for event in ("acknowledged", "delivered"):
        for quantile, bars in BARS.items():
            ways = [[report[f"{event}_us"][quantile] / 1e3 for report in some] for some in (bare, nodes)]
            found(f"{quantile} publish → {event} ÷ bare NATS client", paired(ways[1], ways[0]), **bars)
            found(f"{quantile} publish → {event}, bare NATS client", Spread.of(ways[0]), unit="ms")
    for measure, some, who in (
        ("CPU of all nats-servers per message, 2 nodes follow", nodes, "nats"),
        ("CPU of a node per message published at it", nodes, "publishing"),
        ("CPU of a node per message delivered to one member", nodes, "reading"),
        ("CPU of a node per followed message of another room", bare, "reading"),
    ):
        found(measure, Spread.of([report[f"{who}_us"] for report in some]), unit="µs")


def _cpu_ns(servers):
    return sum(server.cpu.read_ns() for server in servers)
