"""Resident memory per idle connection that has joined a room, and after a burst of messages to it."""

import time

from ..accounting import resident_bytes, slab_bytes
from ..servers import peers_missing
from ..stats import Spread

BARS = {"bar": 3.0, "goal": 1.5}


def memory(bench):
    scale = bench.scale
    servers = bench.servers
    _measure(bench, servers.node(), scale.memory_members, **BARS)
    _measure(bench, servers.floor(), scale.memory_members)
    if not peers_missing():
        _measure(bench, servers.node_ws(), scale.memory_peers)
        _measure(bench, servers.socket_io(), scale.memory_peers)


def _measure(bench, server, members, **bars):
    base = bench.scale.memory_base
    with bench.new_load() as load:
        subject = load.subject(server)
        load.open(subject, base)
        # What the first message and the first connections touch is not theirs.
        load.slice(subject, pace={"in-flight-per-room": 4}, seconds=bench.scale.warm_seconds)
        before, slab_before = _settled(bench, server)
        load.open(subject, members - base)
        idle, slab_idle = _settled(bench, server)
        load.slice(subject, pace={"in-flight-per-room": 4}, seconds=bench.scale.warm_seconds, pause_us=100)
        after, _ = _settled(bench, server)

    def per_connection(bytes_now, bytes_then):
        return Spread.of([(bytes_now - bytes_then) / (members - base) / 1024])

    case = f"memory, {members:,} connections"
    bench.found(case, f"RSS per idle connection, {server.name}", per_connection(idle, before), unit="KiB", **bars)
    bench.found(case, f"the same after a burst, {server.name}", per_connection(after, before), unit="KiB", **bars)
    bench.note(case, f"kernel slab per connection (both ends), {server.name}", round((slab_idle - slab_before) / (members - base)))


def _settled(bench, server):
    time.sleep(bench.scale.settle_seconds)
    return resident_bytes(server.pid), slab_bytes()
