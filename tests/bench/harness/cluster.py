"""Clusters: nats-servers with streams as in production, the nodes over them, and the client that uses both.

Everything here may run on every core: with one core for all servers they would wait for each other, not for the disk.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from .load import Client
from .servers import CORES, NODE_FLAGS, NotReady, pinned_to

ROOT = Path(__file__).resolve().parents[3]
NATS_SERVER = ROOT / "target" / "tools" / "nats-server"
ADMIN = re.compile(r"admin=(127\.0\.0\.1:\d+)")

# Publishers need not be members, or each would be a reader too.
ROOM_CLASSES = "roomClasses: [{prefix: default, publish: Anyone}]\n"


def nats_missing():
    """Why there can be no cluster, or None."""
    return None if NATS_SERVER.exists() else "no nats-server; `make nats-tools` builds it"


class ClusterClient(Client):
    """`natter-bench cluster`."""

    def __init__(self, bench):
        super().__init__([str(bench.bin_dir / "natter-bench"), "cluster"], CORES)


class Cluster:
    """So many nats-servers, which sync every write to disk, and streams with as many replicas."""

    def __init__(self, bench, size, shards, cores=CORES):
        self.servers, self.shards, self.cores = bench.servers, shards, cores
        # Not in /tmp, which may be memory: syncing must mean something.
        self.store = tempfile.TemporaryDirectory(prefix="bench-nats-", dir=ROOT / "target")
        self.nats, self.nodes = [], []
        routes = [f"127.0.0.1:{port}" for port in _free_ports(size)] if size > 1 else []
        started = [self._start_nats(index, routes) for index in range(size)]
        self.addresses = [_client_address(directory, server) for directory, server in started]
        self._make_streams(size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in [*self.nodes, *self.nats]:
            self.servers.stop(server)
        self.store.cleanup()

    def node(self, *flags, at=None):
        """A node over all servers, or over the one at that index."""
        chosen = self.addresses if at is None else [self.addresses[at]]
        config = Path(self.store.name) / "node.yaml"
        config.write_text(ROOM_CLASSES)
        command = [self.servers.binary("chat-node"), *NODE_FLAGS, "--shards", str(self.shards), *flags]
        command += ["--nats-url", ",".join(f"nats://{address}" for address in chosen), "--config", str(config)]
        name = f"natter over NATS {len(self.nodes)}"
        node = self.servers.start(name, "centrifuge", command, self.cores)
        self.nodes.append(node)
        return node

    def _start_nats(self, index, routes):
        directory = Path(self.store.name) / f"nats-{index}"
        directory.mkdir()
        config = directory / "nats.conf"
        config.write_text(_config(f"nats-{index}", directory, routes, index))
        server = self.servers.launch(f"nats-{index}", [str(NATS_SERVER), "--config", str(config)], self.cores)
        self.nats.append(server)
        return directory, server

    def _make_streams(self, replicas):
        urls = ",".join(f"nats://{address}" for address in self.addresses)
        command = [self.servers.binary("chat-node"), "nats", "init", "--nats-url", urls, "--timeout", "60s"]
        command += ["--replicas", str(replicas), "--shards", str(self.shards)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            raise NotReady(f"no streams were made:\n{made.stdout}{made.stderr}")


def metric(node, name):
    """A counter of a node, over all its labels."""
    address = ADMIN.search(node.log.read_text(errors="replace"))
    if not address:
        raise NotReady(f"{node.name} does not say where its metrics are")
    with urllib.request.urlopen(f"http://{address[1]}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))


def sync_us(directory=ROOT / "target", times=50):
    """How long the disk takes to sync a small write: the median."""
    with tempfile.TemporaryFile(dir=directory) as file:
        took = []
        for _ in range(times):
            start = time.perf_counter()
            os.write(file.fileno(), b"x" * 300)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - start)
    return round(sorted(took)[times // 2] * 1e6)


def _config(name, directory, routes, index):
    quoted = json.dumps(str(directory))
    lines = [
        f"server_name: {name}",
        'listen: "127.0.0.1:-1"',
        f"ports_file_dir: {quoted}",
        f"jetstream {{ store_dir: {quoted}, max_mem: 256MB, max_file: 8GB, sync_interval: always }}",
    ]
    if routes:
        others = ", ".join(f'"nats-route://{route}"' for route in routes if route != routes[index])
        lines.append(f'cluster {{ name: bench, listen: "{routes[index]}", routes: [{others}] }}')
    return "\n".join(lines) + "\n"


def _client_address(directory, server, patience=15):
    """Where clients connect: the server says so in a file."""
    file = directory / f"nats-server_{server.pid}.ports"
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            return json.loads(file.read_text())["nats"][0].partition("//")[2]
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.02)
    raise NotReady(f"{server.name} did not start:\n{server.log.read_text(errors='replace')[-2000:]}")


def _free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
