"""The servers under comparison: how each is started, and that each is ended."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .accounting import CpuMeter

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0]
PEERS = Path(__file__).parent.parent / "peers"
READY = re.compile(r"http://(?:localhost|127\.0\.0\.1):(\d+)(?:.* control (\d+))?")
PR_SET_PDEATHSIG = 1

# Every limit that a benchmark would run into, lifted; nothing that changes how messages travel.
NODE_FLAGS = (
    "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --workers 1"
    " --connections 100000 --connects-per-second 1000000 --rooms-per-session 10000"
    " --publishes-per-second-per-session 1000000000 --publishes-per-second-per-room 1000000000"
    " --ping-interval 10m --pong-timeout 1m --history-max-messages 100"
    " --drain-accept 0s --drain-timeout 1s"
).split()


class NotReady(RuntimeError):
    pass


@dataclass
class Server:
    """A running server, on the cores that were given to it."""

    name: str
    process: subprocess.Popen
    log: Path
    cores: list[int]
    dialect: str = ""
    port: int = 0
    control: int | None = None
    cpu: CpuMeter = field(init=False)

    def __post_init__(self):
        # What the kernel does for servers that share several cores is nobody's in particular.
        self.cpu = CpuMeter(self.process.pid, self.cores[0] if len(self.cores) == 1 else None)

    @property
    def pid(self):
        return self.process.pid


class Servers:
    """Starts servers; leaving the context ends every one, by its own process."""

    def __init__(self, bin_dir):
        self.bin_dir = Path(bin_dir)
        self.running = []
        self.launched = 0

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="natter-bench-")
        return self

    def __exit__(self, *_):
        for server in self.running:
            self.stop(server)
        self.directory.cleanup()

    @staticmethod
    def stop(server):
        server.process.kill()
        server.process.wait()

    def node(self):
        return self.start("natter", "centrifuge", [self.binary("chat-node"), *NODE_FLAGS])

    def floor(self):
        return self.start("floor", "bare", [self.binary("natter-bench"), "floor"])

    def unjoined_floor(self):
        """Sends every message by itself, also under backlog."""
        return self.start("one send per message", "bare", [self.binary("natter-bench"), "floor", "--no-coalesce"])

    def bare_101(self):
        return self.start("bare-101", "bare", [self.binary("natter-bench"), "bare-101"])

    def node_ws(self):
        return self.start("node ws", "bare", ["node", str(PEERS / "ws.js")])

    def socket_io(self):
        return self.start("Socket.IO", "socket-io", ["node", str(PEERS / "socket-io.js")])

    def binary(self, name):
        path = self.bin_dir / name
        if not path.exists():
            raise NotReady(f"{path} is missing; build it with: cargo build --release -p chat-node -p natter-bench")
        return str(path)

    def start(self, name, dialect, command, cores=(SERVER_CORE,)):
        """Starts a server that says where it listens, and waits until it does."""
        server = self.launch(name, command, cores)
        server.dialect = dialect
        server.port, server.control = _wait_until_ready(server)
        return server

    def launch(self, name, command, cores=(SERVER_CORE,)):
        self.launched += 1
        output, log = (Path(self.directory.name) / f"{self.launched}.{kind}" for kind in ("out", "log"))
        with output.open("wb") as out, log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                cwd=self.directory.name,
                preexec_fn=pinned_to(*cores),
            )
        server = Server(name, process, log, list(cores))
        self.running.append(server)
        return server


def pinned_to(*cores):
    """For a child between fork and exec: stay on these cores, and die with the runner."""

    def prepare():
        os.sched_setaffinity(0, cores)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


def _wait_until_ready(server, patience=15):
    """Waits for the line that says where the server listens; returns its ports."""
    deadline = time.monotonic() + patience
    process, output = server.process, server.log.with_suffix(".out")
    while time.monotonic() < deadline:
        text = output.read_text(errors="replace")
        found = READY.search(text)
        if found and text.endswith("\n"):
            port, control = found.groups()
            return int(port), control and int(control)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    ended = f"ended with {process.returncode} at start" if process.poll() is not None else f"was not ready after {patience} s"
    raise NotReady(f"{server.name} {ended}:\n{server.log.read_text(errors='replace')[-2000:]}")


def peers_missing():
    """Why the peers cannot run, or None."""
    if not shutil.which("node"):
        return "node is not installed"
    if not (PEERS / "node_modules").exists():
        return "not installed; `npm ci` in tests/bench/peers"
    return None


def install_peers():
    """Installs them next to their sources unless they are there; false if that fails."""
    if peers_missing() and shutil.which("npm"):
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=PEERS, stdout=subprocess.DEVNULL)
    return not peers_missing()
