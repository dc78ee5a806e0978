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
    """A running server, alone with its siblings on the servers' core."""

    name: str
    dialect: str
    process: subprocess.Popen
    port: int
    control: int | None
    cpu: CpuMeter = field(init=False)

    def __post_init__(self):
        self.cpu = CpuMeter(self.process.pid, SERVER_CORE)

    @property
    def pid(self):
        return self.process.pid


class Servers:
    """Starts servers; leaving the context ends every one, by its own process."""

    def __init__(self, bin_dir):
        self.bin_dir = Path(bin_dir)
        self.running = []

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="natter-bench-")
        return self

    def __exit__(self, *_):
        for server in self.running:
            server.process.kill()
            server.process.wait()
        self.directory.cleanup()

    def node(self):
        return self._start("natter", "centrifuge", [self._binary("chat-node"), *NODE_FLAGS])

    def floor(self):
        return self._start("floor", "bare", [self._binary("natter-bench"), "floor"])

    def unjoined_floor(self):
        """Sends every message by itself, also under backlog."""
        return self._start("one send per message", "bare", [self._binary("natter-bench"), "floor", "--no-coalesce"])

    def bare_101(self):
        return self._start("bare-101", "bare", [self._binary("natter-bench"), "bare-101"])

    def node_ws(self):
        return self._start("node ws", "bare", ["node", str(PEERS / "ws.js")])

    def socket_io(self):
        return self._start("Socket.IO", "socket-io", ["node", str(PEERS / "socket-io.js")])

    def _binary(self, name):
        path = self.bin_dir / name
        if not path.exists():
            raise NotReady(f"{path} is missing; build it with: cargo build --release -p chat-node -p natter-bench")
        return str(path)

    def _start(self, name, dialect, command):
        output, log = (Path(self.directory.name) / f"{len(self.running)}.{kind}" for kind in ("out", "log"))
        with output.open("wb") as out, log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                cwd=self.directory.name,
                preexec_fn=pinned_to(SERVER_CORE),
            )
        try:
            port, control = _wait_until_ready(name, process, output, log)
        except BaseException:
            process.kill()
            process.wait()
            raise
        server = Server(name, dialect, process, port, control)
        self.running.append(server)
        return server


def pinned_to(core):
    """For a child between fork and exec: stay on one core, and die with the runner."""

    def prepare():
        os.sched_setaffinity(0, {core})
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


def _wait_until_ready(name, process, output, log, patience=15):
    """Waits for the line that says where the server listens; returns its ports."""
    deadline = time.monotonic() + patience
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
    raise NotReady(f"{name} {ended}:\n{log.read_text(errors='replace')[-2000:]}")


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
