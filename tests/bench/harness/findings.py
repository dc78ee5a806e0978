"""What a run found, and how it reads: one line per measure, with the bar it is held against."""

from dataclasses import asdict, dataclass

from .stats import Spread


@dataclass
class Finding:
    case: str
    measure: str
    spread: Spread
    unit: str = "×"
    bar: float | None = None
    goal: float | None = None
    higher_is_better: bool = False
    disturbed: bool = False

    def verdict(self):
        if self.bar is None:
            return ""
        if self._reaches(self.bar):
            return "goal" if self.goal is not None and self._reaches(self.goal) else "met"
        return "missed"

    def _reaches(self, value):
        return self.spread.median >= value if self.higher_is_better else self.spread.median <= value

    def row(self):
        spread = self.spread
        value = number(spread.median)
        if spread.low < spread.high:
            value += f" [{number(spread.low)}–{number(spread.high)}]"
        value += f" {self.unit}{' †' if self.disturbed else ''}"
        sign = "≥" if self.higher_is_better else "≤"
        bar = "" if self.bar is None else f"{sign} {number(self.bar)}"
        goal = "" if self.goal is None else f"{sign} {number(self.goal)}"
        return f"| {self.case} | {self.measure} | {value} | {bar} | {goal} | {self.verdict()} |"

    def as_json(self):
        return {**asdict(self), "verdict": self.verdict()}


def number(value):
    """
    >>> number(0.6), number(1234567.8), number(17.26)
    ('0.60', '1,234,568', '17.3')
    """
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


def table(findings):
    return "\n".join(
        [
            "| Case | Measure | Median [quartiles] | Bar | Goal | Result |",
            "|---|---|---|---|---|---|",
            *(finding.row() for finding in findings),
        ]
    )
