"""CPU per message where messages come as fast as they can, and per delivery over NATS beside the embedded broker."""

from ..cluster import Cluster, ClusterClient, nats_missing
from ..load import Void, cpu_per_delivery
from ..rounds import interleave, play, warm_up
from ..servers import SERVER_CORE
from ..stats import Spread, paired

IN_FLIGHT = 256
SAME = {"bar": 1.05}


def cluster_cpu(bench):
    missing = nats_missing()
    if missing:
        bench.say(f"cluster-cpu: skipped, {missing}")
        return
    _followed(bench)
    _delivered(bench)


def _followed(bench):
    """A node that has a member in the shard, none in the room."""
    scale = bench.scale
    case = f"a stream with {IN_FLIGHT} publishes in flight, one server"
    with Cluster(bench, 1, shards=1) as cluster, ClusterClient(bench) as client:
        node, server = cluster.node(), cluster.nats[0]
        address = f"127.0.0.1:{node.port}"
        client.ask("open", publish_at=address, read_at=address, rooms=1, nats=cluster.addresses)

        def one_round():
            before = node.cpu.read_ns(), server.cpu.read_ns()
            report = client.ask("flood", messages=scale.flood, in_flight=IN_FLIGHT)
            if report["gaps"] or report["missing"]:
                raise Void(f"{case}: {report['gaps']} out of sequence, {report['missing']} missing")
            report["node_us"] = (node.cpu.read_ns() - before[0]) / 1e3 / report["published"]
            report["nats_us"] = (server.cpu.read_ns() - before[1]) / 1e3 / report["published"]
            return report

        one_round()
        rounds = play(bench, [node, server, client], one_round, scale.cluster_rounds)
        bench.keep(case, "floods", {"bare": list(rounds)})
        for measure, values, unit in (
            ("CPU of the node per followed message of another room", [report["node_us"] for report in rounds], "µs"),
            ("CPU of nats-server per message, a node and a bare client follow", [report["nats_us"] for report in rounds], "µs"),
            ("publishes acknowledged", [report["published"] / report["seconds"] for report in rounds], "/s"),
        ):
            bench.found(case, measure, Spread.of(values), unit=unit, disturbed=rounds.disturbed)


def _delivered(bench):
    """One big room on a node over NATS and on one with the embedded broker, in turn."""
    scale = bench.scale
    members = scale.members
    case = f"one room of {members:,}, over NATS"
    with Cluster(bench, 1, shards=1, cores=[SERVER_CORE]) as cluster:
        embedded, clustered = bench.servers.node(), cluster.node()
        subjects = [bench.load.subject(server) for server in (embedded, clustered)]
        for subject in subjects:
            bench.load.open(subject, members)
        for name, pace, bars in (
            ("1 message in flight", {"in-flight-per-room": 1}, SAME),
            (f"{scale.open_loop_deliveries:,} deliveries/s", {"per-second": scale.open_loop_deliveries / members}, SAME),
            ("8 in flight", {"in-flight-per-room": 8}, {}),
        ):
            plan = {"pace": pace, "pause_us": 100}
            warm_up(bench, subjects, scale.warm_seconds, **plan)
            reports = interleave(bench, subjects, scale.rounds, also=cluster.nats, seconds=scale.slice_seconds, **plan)
            bench.keep(case, name, reports)
            cpu_us = [cpu_per_delivery(reports[subject.name]) for subject in subjects]
            disturbed = reports.disturbed
            bench.found(case, f"CPU per delivery ÷ embedded broker, {name}", paired(cpu_us[1], cpu_us[0]), **bars, disturbed=disturbed)
            bench.found(case, f"CPU per delivery, embedded broker, {name}", Spread.of(cpu_us[0]), unit="µs", disturbed=disturbed)
