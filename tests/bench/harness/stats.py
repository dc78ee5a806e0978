"""Medians and quartiles, and ratios of what was measured side by side."""

from dataclasses import dataclass
from statistics import median


@dataclass
class Spread:
    """A median with the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        """
        >>> Spread.of([4, 1, 3, 2, 5])
        Spread(median=3, low=2, high=4)
        """
        ordered = sorted(values)
        last = len(ordered) - 1
        return cls(median(ordered), ordered[round(last / 4)], ordered[round(3 * last / 4)])


def paired(values, bases):
    """The spread of value ÷ base, round by round: what moved the whole machine in a round moves both.

    >>> paired([2, 20, 6], [1, 10, 2]).median
    2.0
    """
    return Spread.of([value / base for value, base in zip(values, bases, strict=True)])
