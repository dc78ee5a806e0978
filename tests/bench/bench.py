#!/usr/bin/env python3
"""Measures a chat node beside a bare send(2) loop, a bare 101 server, Node `ws`, Socket.IO and a bare NATS client.

    cargo build --release -p chat-node -p natter-bench
    python3 tests/bench/bench.py                            everything, under 20 minutes, on two quiet cores
    python3 tests/bench/bench.py --smoke                    every case once and tiny: does it run, is nothing lost
    python3 tests/bench/bench.py --only one-room,memory     one case or several
    python3 tests/bench/bench.py --only cluster             all cases of a cluster; `node` names all others

Servers run on core 0, the load client and this program on core 1; what belongs to a cluster runs on both. Servers that
are compared are up together and loaded in turn, in short slices; a ratio is the median over the rounds of value ÷ base
in the same round. A gap or a missing message ends the run. How to read the numbers: docs/performance.md.
"""

import argparse
import doctest
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import findings, stats  # noqa: E402
from harness.accounting import machine  # noqa: E402
from harness.cases import ALL, CLUSTER, NODE  # noqa: E402
from harness.findings import Finding, table  # noqa: E402
from harness.load import CLIENT_CORE, LoadClient, Void  # noqa: E402
from harness.scale import FULL, SMOKE  # noqa: E402
from harness.servers import SERVER_CORE, NotReady, Servers, install_peers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
GROUPS = {"node": NODE, "cluster": CLUSTER}


class Bench:
    """What a case works with: its servers, a load client, and a place for what it finds."""

    def __init__(self, scale, bin_dir, servers, load):
        self.scale, self.bin_dir, self.servers, self.load = scale, bin_dir, servers, load
        self.findings, self.slices, self.notes = [], [], []

    def new_load(self):
        """One more load client, for a case with more connections than one process may have open."""
        return LoadClient(self.bin_dir / "natter-bench")

    def found(self, case, measure, spread, unit="×", **bars):
        """A smoke run is too short to be held against a bar."""
        finding = Finding(case, measure, spread, unit, **({} if self.scale is SMOKE else bars))
        self.findings.append(finding)
        self.say(finding.row())

    def keep(self, case, what, reports):
        """Raw slices, for the JSON."""
        foreign = getattr(reports, "foreign_cores", ())
        self.slices.append({"case": case, "what": what, "foreign_cores": foreign, "reports": reports})

    def note(self, case, what, value):
        self.notes.append({"case": case, "what": what, "value": value})

    @staticmethod
    def say(text):
        print(text, flush=True)


def run_case(name, scale, bin_dir):
    """Runs one case with servers of its own."""
    with Servers(bin_dir) as servers, LoadClient(bin_dir / "natter-bench") as load:
        bench = Bench(scale, bin_dir, servers, load)
        ALL[name](bench)
    return bench


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    os.sched_setaffinity(0, {CLIENT_CORE})
    if CLIENT_CORE == SERVER_CORE:
        print("bench: one core only; the client's work disturbs the servers'", file=sys.stderr)
    for module in (stats, findings):
        if doctest.testmod(module).failed:
            return 1

    scale = SMOKE if arguments.smoke else FULL
    if not arguments.smoke and not install_peers():
        print("bench: the peers could not be installed and are left out", file=sys.stderr)
    results = {"machine": machine(), "smoke": arguments.smoke, "cases": {}}
    found = {}
    try:
        for name in arguments.only:
            print(f"# {name}", flush=True)
            started = time.monotonic()
            bench = run_case(name, scale, arguments.bin_dir)
            found[name] = bench.findings
            results["cases"][name] = {
                "seconds": round(time.monotonic() - started, 1),
                "findings": [finding.as_json() for finding in bench.findings],
                "notes": bench.notes,
                "slices": bench.slices,
            }
    except (Void, NotReady) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1

    every = [finding for findings in found.values() for finding in findings]
    write_results(arguments.out, results, every)
    if arguments.update_docs:
        update_document(results, found)
    missed = [finding for finding in every if finding.verdict() == "missed"]
    if not arguments.smoke:
        print(f"{len(missed)} bars missed; results in {arguments.out}")
    return 1 if arguments.gate and missed else 0


def write_results(directory, results, found):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    seconds = sum(case["seconds"] for case in results["cases"].values())
    (directory / "results.md").write_text(as_markdown(results["machine"], seconds, found))


def as_markdown(machine, seconds, found):
    machine_line = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}"
    disturbed = any(finding.disturbed for finding in found)
    warning = "† Others used the machine meanwhile; see *Disturbed rounds*.\n\n" if disturbed else ""
    return f"{machine_line}; loopback; {seconds:.0f} s.\n\n{warning}{table(found)}\n"


def update_document(results, found):
    """Replaces each table all of whose cases were run."""
    text = DOCUMENT.read_text()
    for group, cases in GROUPS.items():
        if not set(cases) <= set(found):
            continue
        begin, end = f"<!-- bench:{group}:begin -->", f"<!-- bench:{group}:end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        seconds = sum(results["cases"][name]["seconds"] for name in cases)
        of_group = [finding for name in cases for finding in found[name]]
        text = f"{head}{begin}\n{as_markdown(results['machine'], seconds, of_group)}{end}{tail}"
    DOCUMENT.write_text(text)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--smoke", action="store_true", help="tiny numbers, no bars: under 20 s")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(ALL), help=f"cases: {','.join(ALL)}; or all of: {','.join(GROUPS)}")
    parser.add_argument("--bin-dir", type=lambda path: Path(path).resolve(), default=target / "release", help="where chat-node and natter-bench are")
    parser.add_argument("--out", type=Path, default=target / "bench", help="where results.json and results.md go")
    parser.add_argument("--gate", action="store_true", help="fail when a bar is missed")
    parser.add_argument("--update-docs", action="store_true", help="put each table whose cases were all run into docs/performance.md")
    arguments = parser.parse_args()
    arguments.only = [case for name in arguments.only for case in GROUPS.get(name, [name])]
    unknown = set(arguments.only) - set(ALL)
    if unknown:
        parser.error(f"unknown case {', '.join(sorted(unknown))}; there are {', '.join([*ALL, *GROUPS])}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
