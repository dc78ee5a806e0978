"""What a joined room costs a node of a cluster, and how long joining many takes: joins are local."""

import time

from ..accounting import resident_bytes
from ..cluster import Cluster, metric, nats_missing
from ..stats import Spread

ROOMS_EACH = 100
SIZE = {"bar": 1.0}
TIME = {"bar": 1.0}


def cluster_rooms(bench):
    missing = nats_missing()
    if missing:
        bench.say(f"cluster-rooms: skipped, {missing}")
        return
    scale = bench.scale
    sessions = scale.joined_rooms // ROOMS_EACH
    base = max(1, sessions // 10)
    case = f"{scale.joined_rooms:,} rooms joined by {sessions} sessions"
    with Cluster(bench, 1, shards=8) as cluster:
        over_nats = [_join(bench, cluster.node(), base, sessions) for _ in range(scale.join_rounds)]
        embedded = [_join(bench, bench.servers.node(), base, sessions) for _ in range(scale.join_rounds)]
    bench.keep(case, "joins", {"over NATS": over_nats, "embedded": embedded})
    for name, joins, bars in (("over NATS", over_nats, (SIZE, TIME)), ("embedded broker", embedded, ({}, {}))):
        size = Spread.of([join["bytes_per_room"] / 1024 for join in joins])
        seconds = Spread.of([join["seconds"] for join in joins])
        bench.found(case, f"RSS per room besides shard logs, {name}", size, unit="KiB", **bars[0])
        bench.found(case, f"from connecting to the last reply, {name}", seconds, unit="s", **bars[1])


def _join(bench, node, base, sessions):
    """The sessions' own memory counts as the rooms': about a hundredth of theirs."""
    with bench.new_load() as load:
        subject = load.subject(node, rooms=(base + sessions) * ROOMS_EACH, publishers="member")
        load.open(subject, base, rooms_each=ROOMS_EACH)
        before = _settled(bench, node)
        seconds = load.open(subject, sessions, rooms_each=ROOMS_EACH)
        after = _settled(bench, node)
    bench.servers.stop(node)
    return {"bytes_per_room": (after - before) / (sessions * ROOMS_EACH), "seconds": seconds}


def _settled(bench, node):
    time.sleep(bench.scale.settle_seconds)
    return resident_bytes(node.pid) - metric(node, "natter_nats_shard_log_bytes")
