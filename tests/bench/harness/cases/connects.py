"""New connections per second beside a server that does nothing but answer 101.

Like for like: TCP connect, request, 101. The node's full entry (connect and subscribe replies too) stands beside
it by its own name and is compared with nothing. Two ways to arrive:

- a stream: a limited number in flight. The client's half costs more than a bare server's, so the client sets the pace.
- a herd: all have connected and sent their requests while the server was stopped; the clock runs from its
  continuation to the last answer. Here the server sets the pace.
"""

import os
import signal
import time

from ..load import Void, address_of
from ..rounds import play
from ..stats import Spread, paired

IN_FLIGHT = 64
LIKE_FOR_LIKE = {"bar": 0.8, "higher_is_better": True}


def connects(bench):
    node, bare = bench.servers.node(), bench.servers.bare_101()
    kinds = {
        "bare": (bare, "upgraded"),
        "upgraded": (node, "upgraded"),
        "joined": (node, "joined"),
    }
    _measure(bench, f"connects, a stream of {bench.scale.storm:,}, {IN_FLIGHT} in flight", kinds, _stream)
    _measure(bench, f"connects, a herd of {bench.scale.storm:,}", kinds, _herd)


def _measure(bench, case, kinds, arrive):
    def one_round():
        return [_open_and_close(bench, server, until, arrive) for server, until in kinds.values()]

    one_round()
    rounds = play(bench, {server.pid: server for server, _ in kinds.values()}.values(), one_round, bench.scale.rounds)
    storms = dict(zip(kinds, map(list, zip(*rounds))))
    bench.keep(case, "storms", storms)
    rate = {kind: [storm["opened"] / storm["seconds"] for storm in some] for kind, some in storms.items()}
    cost = {kind: [storm["cpu_us"] / storm["opened"] for storm in some] for kind, some in storms.items()}

    def found(measure, spread, **how):
        bench.found(case, measure, spread, disturbed=rounds.disturbed, **how)

    found("connects/s ÷ bare 101 server, TCP + 101", paired(rate["upgraded"], rate["bare"]), **LIKE_FOR_LIKE)
    found("CPU per connect ÷ bare 101 server, TCP + 101", paired(cost["upgraded"], cost["bare"]))
    found("connects, TCP + 101, bare 101 server", Spread.of(rate["bare"]), unit="/s")
    found("connects, TCP + 101, natter", Spread.of(rate["upgraded"]), unit="/s")
    found("CPU per connect, TCP + 101, natter", Spread.of(cost["upgraded"]), unit="µs")
    found("connects, TCP + 101 + connect + subscribe, natter", Spread.of(rate["joined"]), unit="/s")
    found("CPU per connect, TCP + 101 + connect + subscribe, natter", Spread.of(cost["joined"]), unit="µs")


def _open_and_close(bench, server, until, arrive):
    count = bench.scale.storm
    plan = {"address": address_of(server), "dialect": server.dialect, "count": count, "until": until}
    before = server.cpu.read_ns()
    storm = arrive(bench.load, server, plan)
    storm["cpu_us"] = (_when_idle(server) - before) / 1e3
    bench.load.ask("release")
    _when_idle(server)
    if storm["opened"] != count:
        raise Void(f"{server.name}: {storm['opened']} of {count} connections opened")
    return storm


def _stream(load, _server, plan):
    return load.ask("storm", in_flight=IN_FLIGHT, **plan)


def _herd(load, server, plan):
    os.kill(server.pid, signal.SIGSTOP)
    try:
        load.ask("knock", in_flight=plan["count"], **plan)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    return load.ask("admit")


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
