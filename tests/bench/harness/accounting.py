"""What the kernel says about CPU, memory and sockets. Reads /proc, changes nothing."""

import os
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def ksoftirqd(core):
    """The pid of the thread that takes over a core's network work when there is much of it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _read(entry / "comm").strip() == f"ksoftirqd/{core}":
            return int(entry.name)
    return None


class CpuMeter:
    """CPU time of a server: all its threads, and its core's ksoftirqd, which receives on its behalf.

    Only one server of a core is loaded at a time, so ksoftirqd's work is that one's. Without a core, threads alone count.
    """

    def __init__(self, pid, core):
        self.pid = pid
        self.ksoftirqd = None if core is None else ksoftirqd(core)

    def read_ns(self):
        return _process_ns(self.pid) + (_process_ns(self.ksoftirqd) if self.ksoftirqd else 0)


def _process_ns(pid):
    """Run time of all threads; a tick is too coarse for slices of a third of a second."""
    texts = [_read(task / "schedstat") for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(text.split()[0]) for text in texts if text)


class ForeignCpu:
    """How many cores others used since this was made: all that was busy and is neither `pids` nor this program."""

    def __init__(self, pids):
        kernel_threads = [ksoftirqd(core) for core in range(os.cpu_count() or 1)]
        self.own = [pid for pid in [*pids, os.getpid(), *kernel_threads] if pid]
        self.start = self._sample()

    def cores(self):
        busy, own, at = (now - then for now, then in zip(self._sample(), self.start))
        return max(0.0, (busy - own) / max(at, 0.01))

    def _sample(self):
        fields = [int(field) for field in _read(Path("/proc/stat")).splitlines()[0].split()[1:9]]
        idle = fields[3] + fields[4]
        busy = (sum(fields) - idle) / TICKS_PER_SECOND
        return busy, sum(_process_ns(pid) for pid in self.own) / 1e9, time.monotonic()


def resident_bytes(pid):
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Rss:") * 1024


def slab_bytes():
    """Kernel memory of the whole machine, sockets among it."""
    return _kilobytes(Path("/proc/meminfo"), "Slab:") * 1024


def _kilobytes(path, field):
    for line in _read(path).splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"{path} has no {field}")


def unsent_bytes(server_port, client_ports):
    """What the kernel still holds of what a server sent to these clients: by client, closed connections left out."""
    unsent = {}
    for line in _read(Path("/proc/net/tcp")).splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        established = fields[3] == "01"
        if established and local == server_port and remote in client_ports:
            unsent[remote] = int(fields[4].partition(":")[0], 16)
    return unsent


def machine():
    """What a reader of the numbers must know about the machine."""
    model = next(
        (line.partition(":")[2].strip() for line in _read(Path("/proc/cpuinfo")).splitlines() if line.startswith("model name")),
        "unknown",
    )
    return {"cpu": model, "cores": os.cpu_count(), "kernel": os.uname().release.split("-")[0]}


def _read(path):
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
