"""What the kernel says about CPU, memory and sockets. Reads /proc, changes nothing."""

import os
import resource
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

    Only one server of a core is loaded at a time, so ksoftirqd's work is that one's.
    """

    def __init__(self, pid, core):
        self.pid = pid
        self.ksoftirqd = ksoftirqd(core)

    def read_ns(self):
        tasks = list(Path(f"/proc/{self.pid}/task").iterdir())
        if self.ksoftirqd:
            tasks.append(Path(f"/proc/{self.ksoftirqd}"))
        return sum(_run_ns(task) for task in tasks)


def _run_ns(task):
    text = _read(task / "schedstat")
    return int(text.split()[0]) if text else 0


class ForeignCpu:
    """How many cores others used since this was made: all that was busy and neither this program nor its children.

    To be read when the children have ended: only then has the kernel added up their time.
    """

    def __init__(self):
        self.kernel_helpers = [pid for pid in map(ksoftirqd, range(os.cpu_count() or 1)) if pid]
        self.start = self._sample()

    def cores(self):
        busy, own, at = (now - then for now, then in zip(self._sample(), self.start))
        return max(0.0, (busy - own) / max(at, 0.01))

    def _sample(self):
        fields = [int(field) for field in _read(Path("/proc/stat")).splitlines()[0].split()[1:9]]
        idle = fields[3] + fields[4]
        busy = (sum(fields) - idle) / TICKS_PER_SECOND
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        own += sum(_run_ns(Path(f"/proc/{pid}")) for pid in self.kernel_helpers) / 1e9
        return busy, own, time.monotonic()


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


def stuck_sockets(port):
    """How many of a server's established connections have data that the other side does not take."""
    stuck = 0
    for line in _read(Path("/proc/net/tcp")).splitlines()[1:]:
        fields = line.split()
        local_port = int(fields[1].rpartition(":")[2], 16)
        unsent = int(fields[4].partition(":")[0], 16)
        established = fields[3] == "01"
        stuck += local_port == port and established and unsent > 0
    return stuck


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
