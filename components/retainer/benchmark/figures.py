"""What is worked out of runs and of entities: medians, ratios, F1. Numbers alone."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

Spans = Sequence[tuple[int, int, str]]  # first character, that behind the last, type


@dataclass(frozen=True)
class Spread:
    """Of some runs: the median, the least and the greatest."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def show(self, digits: int) -> str:
        """Example: 1.5, 1.25, 2.0 with 2 digits -> "1.50 (1.25 to 2.00)" """
        middle, low, high = (
            f"{value:,.{digits}f}" for value in (self.middle, self.low, self.high)
        )
        return middle if low == high else f"{middle} ({low} to {high})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Theirs over ours, round by round: how many times as much they take.

    Example: [1.0, 2.0, 4.0], [3.0, 4.0, 4.0] -> 2.0, from 1.0 to 3.0
    """
    return Spread.of([b / a for a, b in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share of them does not exceed.

    Example: 1 to 200, 0.99 -> 198
    """
    place = math.ceil(round(share * len(values), 9))
    return sorted(values)[max(0, place - 1)]


def f1(gold: Sequence[Spans], predicted: Sequence[Spans]) -> float | None:
    """In points, over all entities of all texts: right are those with both bounds and
    the type of a gold one. None where neither side has an entity.

    Example: [[(0, 3, "PER"), (5, 9, "LOC")]], [[(0, 3, "PER"), (5, 9, "ORG")]] -> 50
    """
    pairs = [(set(a), set(b)) for a, b in zip(gold, predicted, strict=True)]
    n_right = sum(len(a & b) for a, b in pairs)
    n_both = sum(len(a) + len(b) for a, b in pairs)
    return 200 * n_right / n_both if n_both else None


def agreement(ours: Sequence[Spans], theirs: Sequence[Spans]) -> float:
    """The share of texts with exactly the same entities, in per cent."""
    pairs = list(zip(ours, theirs, strict=True))
    return 100 * sum(set(a) == set(b) for a, b in pairs) / len(pairs)


def trimmed(text: str, spans: Spans) -> Spans:
    """Without white space at the edges, which some tools count in.

    Example: "in Rome ", [(2, 8, "LOC")] -> [(3, 7, "LOC")]
    """
    kept = []
    for start, end, kind in spans:
        inside = text[start:end]
        start += len(inside) - len(inside.lstrip())
        if inside.strip():
            kept.append((start, start + len(inside.strip()), kind))
    return kept


def of_types(spans: Spans, types: Collection[str]) -> Spans:
    return [span for span in spans if span[2] in types]
