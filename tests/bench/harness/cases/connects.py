"""New connections per second beside a server that does nothing but answer 101.

Like for like: TCP connect, request, 101. The node's full entry (connect and subscribe replies too) stands beside
it by its own name and is compared with nothing.
"""

import time

from ..load import Void, address_of
from ..rounds import play
from ..stats import Spread, paired

IN_FLIGHT = 64


def connects(bench):
    node, bare = bench.servers.node(), bench.servers.bare_101()
    kinds = {
        "bare": (bare, "upgraded"),
        "upgraded": (node, "upgraded"),
        "joined": (node, "joined"),
    }
    for server, until in kinds.values():
        _storm(bench, server, until)

    def one_round():
        return [_storm(bench, server, until) for server, until in kinds.values()]

    rounds = play(bench, [node, bare], one_round, bench.scale.rounds)
    storms = dict(zip(kinds, zip(*rounds)))
    case = f"connects, {bench.scale.storm:,} at a time, {IN_FLIGHT} in flight"
    bench.keep(case, "storms", storms)
    rate = {kind: [storm["opened"] / storm["seconds"] for storm in some] for kind, some in storms.items()}
    cost = {kind: [storm["cpu_us"] / storm["opened"] for storm in some] for kind, some in storms.items()}

    def found(measure, spread, **how):
        bench.found(case, measure, spread, disturbed=rounds.disturbed, **how)

    ratio = paired(rate["upgraded"], rate["bare"])
    found("connects/s ÷ bare 101 server, TCP + 101", ratio, bar=0.8, higher_is_better=True)
    found("CPU per connect ÷ bare 101 server, TCP + 101", paired(cost["upgraded"], cost["bare"]))
    found("connects, TCP + 101, bare 101 server", Spread.of(rate["bare"]), unit="/s")
    found("connects, TCP + 101, natter", Spread.of(rate["upgraded"]), unit="/s")
    found("CPU per connect, TCP + 101, natter", Spread.of(cost["upgraded"]), unit="µs")
    found("connects, TCP + 101 + connect + subscribe, natter", Spread.of(rate["joined"]), unit="/s")
    found("CPU per connect, TCP + 101 + connect + subscribe, natter", Spread.of(cost["joined"]), unit="µs")


def _storm(bench, server, until):
    before = server.cpu.read_ns()
    storm = bench.load.ask(
        "storm",
        address=address_of(server),
        dialect=server.dialect,
        count=bench.scale.storm,
        in_flight=IN_FLIGHT,
        until=until,
    )
    storm["cpu_us"] = (_when_idle(server) - before) / 1e3
    bench.load.ask("release")
    _when_idle(server)
    if storm["opened"] != bench.scale.storm:
        raise Void(f"{server.name}: {storm['opened']} of {bench.scale.storm} connections opened")
    return storm


def _when_idle(server, patience=5):
    """The server's CPU time once it has stopped growing: less than 2 % of a core over 20 ms."""
    deadline = time.monotonic() + patience
    before = server.cpu.read_ns()
    while time.monotonic() < deadline:
        time.sleep(0.02)
        now = server.cpu.read_ns()
        if now - before < 400_000:
            return now
        before = now
    raise Void(f"{server.name} is still busy {patience} s after its connections were opened or closed")
