"""The clients that load servers, and what a slice of load cost one."""

import json
import os
import subprocess
import time
from dataclasses import dataclass

from .servers import CORES, pinned_to

CLIENT_CORE = CORES[-1]


class Void(RuntimeError):
    """A run that proves nothing: something was lost, repeated, refused or not comparable."""


@dataclass
class Subject:
    """A server with the load client's connections to it."""

    server: object
    target: int

    @property
    def name(self):
        return self.server.name


class Client:
    """A program that takes commands and answers them, line by line."""

    def __init__(self, command, cores):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RUST_BACKTRACE": "0"},
            preexec_fn=pinned_to(*cores),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    @property
    def pid(self):
        return self.process.pid

    def ask(self, do, **arguments):
        """Sends a command and waits for its answer."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        if not answer:
            raise Void(f"the client gave up on {do}: {self.process.stderr.read().strip()}")
        return json.loads(answer)


class LoadClient(Client):
    """`natter-bench load`."""

    def __init__(self, binary):
        super().__init__([str(binary), "load"], [CLIENT_CORE])

    def subject(self, server, rooms=1, publishers="apart", control=True):
        """Makes `server` a target. With `control`, messages go in by its control connection if it has one."""
        control = f"127.0.0.1:{server.control}" if control and server.control else None
        answer = self.ask(
            "target",
            name=server.name,
            address=address_of(server),
            dialect=server.dialect,
            control=control,
            rooms=rooms,
            publishers=publishers,
        )
        return Subject(server, answer["target"])

    def open(self, subject, count, rooms_each=1):
        return self.ask("open", target=subject.target, count=count, rooms_each=rooms_each)["seconds"]

    def learn(self, subject):
        """From now on servers with a control connection send what this one sends, byte for byte as long."""
        return self.ask("learn", target=subject.target)

    def slice(self, subject, pace, seconds, **plan):
        """Loads one server; the report says also what it cost it."""
        cpu = subject.server.cpu
        before = cpu.read_ns()
        report = self.ask("slice", target=subject.target, pace=pace, seconds=seconds, **plan)
        time.sleep(0.002)
        report["cpu_us"] = (cpu.read_ns() - before) / 1e3
        if report["gaps"] or report["missing"] or not report["deliveries"]:
            raise Void(
                f"{subject.name}: {report['deliveries']} deliveries, {report['gaps']} out of sequence,"
                f" {report['missing']} missing at {pace}"
            )
        return report


def address_of(server):
    return f"127.0.0.1:{server.port}"


def cpu_per_delivery(reports):
    return [report["cpu_us"] / report["deliveries"] for report in reports]


def check_same_bytes(reports, tolerance=0.03):
    """Every server must have sent the same number of bytes per delivery, replies to publishes included."""
    sizes = {
        name: sum(report["bytes"] for report in slices) / sum(report["deliveries"] for report in slices)
        for name, slices in reports.items()
    }
    if max(sizes.values()) > min(sizes.values()) * (1 + tolerance):
        raise Void(f"the servers did not send the same: bytes per delivery {sizes}")
    return {name: round(size, 1) for name, size in sizes.items()}
