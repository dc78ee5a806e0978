"""Rounds: the servers in turn, again and again, leaving out the rounds that others disturbed."""

from .accounting import ForeignCpu

QUIET_CORES = 0.15


class Rounds(list):
    """What each round gave. `disturbed` if others used the machine in most of them, so that they had to be kept."""

    disturbed = False
    foreign_cores = ()


def play(bench, servers, one_round, count):
    """Plays rounds until `count` of them were quiet, at most twice as many."""
    pids = [bench.load.pid, *(server.pid for server in servers)]
    results, foreign = [], []
    quiet = []
    for _ in range(count * bench.scale.patience):
        watch = ForeignCpu(pids)
        results.append(one_round())
        foreign.append(round(watch.cores(), 3))
        if foreign[-1] <= QUIET_CORES:
            quiet.append(results[-1])
        if len(quiet) == count:
            break
    enough = 2 * len(quiet) >= count
    rounds = Rounds(quiet if enough else results)
    rounds.disturbed = not enough
    rounds.foreign_cores = foreign
    return rounds


class Reports(dict):
    """The reports of each subject by name, one per round."""

    disturbed = False
    foreign_cores = ()


def interleave(bench, subjects, count, also=(), **plan):
    """A slice of every subject in turn, the base first. `also` are servers that work for them."""

    def one_round():
        return [bench.load.slice(subject, **plan) for subject in subjects]

    rounds = play(bench, [*(subject.server for subject in subjects), *also], one_round, count)
    reports = Reports(zip((subject.name for subject in subjects), map(list, zip(*rounds))))
    reports.disturbed, reports.foreign_cores = rounds.disturbed, rounds.foreign_cores
    return reports


def warm_up(bench, subjects, seconds, **plan):
    for subject in subjects:
        bench.load.slice(subject, seconds=seconds, **plan)
