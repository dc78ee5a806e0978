"""A node is killed while messages flow: its sessions resume on another one and miss nothing.

Twice: the other node has followed all along and its logs go back far enough; or its logs are short and the sessions
stay away so long that most of what they missed has to be read from NATS, once a room and not once a session.
"""

import threading

from ..cluster import Cluster, ClusterClient, metric, nats_missing
from ..load import Void
from ..stats import Spread

SHARDS = 8
RESUMED = {"bar": 2.0}


def cluster_resume(bench):
    missing = nats_missing()
    if missing:
        bench.say(f"cluster-resume: skipped, {missing}")
        return
    scale = bench.scale
    lost = scale.resume_members // 2
    case = f"{lost:,} of {scale.resume_members:,} sessions resume after kill -9"
    # A read for each shard is what a start costs, too.
    _report(bench, case, "from the log", 0, (), {"bar": SHARDS})
    # Of each room: its newest message, and pages of what was missed.
    log = ("--nats-shard-log-messages", str(scale.resume_short_log))
    _report(bench, case, "from NATS", scale.resume_away_seconds, log, {"bar": 3 * scale.resume_rooms})


def _report(bench, case, how, away_seconds, flags, reads):
    flows = [_kill(bench, away_seconds, flags) for _ in range(bench.scale.resume_rounds)]
    bench.keep(case, how, {"flows": flows})

    def spread(key):
        return Spread.of([flow[key] for flow in flows])

    bench.found(case, f"from the first return to the last resume, {how}", spread("resume_seconds"), unit="s", **RESUMED)
    each = Spread.of([flow["each_us"]["p50"] / 1e3 for flow in flows])
    bench.found(case, f"a session's return, p50, {how}", each, unit="ms")
    bench.found(case, f"messages recovered, {how}", spread("recovered"), unit="")
    bench.found(case, f"reads of NATS, {how}", spread("reads"), unit="", **reads)


def _kill(bench, away_seconds, flags):
    scale = bench.scale
    with Cluster(bench, 1, shards=SHARDS) as cluster, ClusterClient(bench) as client:
        doomed, refuge = cluster.node(*flags), cluster.node(*flags)
        nodes = [f"127.0.0.1:{node.port}" for node in (doomed, refuge)]
        client.ask(
            "gather",
            nodes=nodes,
            refuge=nodes[1],
            members=scale.resume_members,
            rooms=scale.resume_rooms,
            away_seconds=away_seconds,
        )
        before = metric(refuge, "natter_nats_reads_total")
        seconds = scale.resume_messages / scale.resume_rate
        killing = threading.Timer(seconds / 3, doomed.process.kill)
        killing.start()
        flow = client.ask("flow", messages=scale.resume_messages, rate=scale.resume_rate)
        killing.join()
        flow["reads"] = metric(refuge, "natter_nats_reads_total") - before
    wrong = [flow["lost"], flow["repeated"], flow["unrecovered"], flow["expected"] - flow["deliveries"]]
    wrong += [flow["published"] - flow["acknowledged"], scale.resume_members // 2 - flow["resumed"]]
    if any(wrong):
        raise Void(f"not all was resumed exactly: {flow}")
    return flow
