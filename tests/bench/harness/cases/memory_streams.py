"""Resident memory per idle connection that has joined a room over HTTP streaming and over SSE."""

import http.client
import json
import socket
import time
from urllib.parse import quote

from ..accounting import resident_bytes
from ..stats import Spread

BARS = {"bar": 8.0, "goal": 1.5}
CONNECT = json.dumps({"id": 1, "connect": {}})
MOST = 8192


def memory_streams(bench):
    for transport, request in {"HTTP streaming": _http_stream, "SSE": _sse}.items():
        _measure(bench, transport, request())


def _http_stream():
    head = f"POST /connection/http_stream HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(CONNECT)}\r\n\r\n"
    return head + CONNECT


def _sse():
    return f"GET /connection/sse?cf_connect={quote(CONNECT)} HTTP/1.1\r\nHost: bench\r\n\r\n"


def _measure(bench, transport, request):
    server = bench.servers.node()
    base, members = bench.scale.memory_base, bench.scale.memory_streams
    streams = []
    _join(server, request, streams, base)
    before = _settled(bench, server)
    _join(server, request, streams, members - base)
    idle = _settled(bench, server)
    found = Spread.of([(idle - before) / (members - base) / 1024])
    case = f"memory, {members:,} connections"
    bench.found(case, f"RSS per idle connection over {transport}", found, unit="KiB", **BARS)
    for stream in streams:
        stream.close()
    bench.servers.stop(server)


def _join(server, request, streams, count):
    """Opens streams, and subscribes each beside it to a room of many."""
    beside = http.client.HTTPConnection("127.0.0.1", server.port)
    for index in range(count):
        stream = socket.create_connection(("127.0.0.1", server.port))
        streams.append(stream)
        stream.sendall(request.encode())
        connect = _read(stream, '"connect"')
        subscribe = json.dumps({"id": 2, "subscribe": {"channel": f"room-{index % 20}"}})
        body = json.dumps({"session": connect["session"], "node": connect["node"], "data": subscribe})
        beside.request("POST", "/emulation", body)
        answer = beside.getresponse()
        answer.read()
        if answer.status != 204:
            raise RuntimeError(f"/emulation answered {answer.status}")
        _read(stream, '"subscribe"')
    beside.close()


def _read(stream, word):
    """The reply that has `word`."""
    text = ""
    while True:
        for line in text.split("\n")[:-1]:
            if word in line:
                return json.loads(line.removeprefix("data: "))[json.loads(word)]
        read = stream.recv(MOST)
        if not read:
            raise RuntimeError(f"the stream ended after {text!r}")
        text += read.decode()


def _settled(bench, server):
    time.sleep(bench.scale.settle_seconds)
    return resident_bytes(server.pid)
