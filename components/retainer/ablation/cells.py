"""The runs of one arm on one task, taken together over seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from thinc.types import Ints2d

from .bootstrap import Interval, learnt_interval, lost_interval
from .store import Result

Cells = dict[str, dict[str, "Cell"]]  # by task, by arm


@dataclass
class Cell:
    """results: one a seed. new, lost: intervals of the means, see `bootstrap`."""

    results: list[Result]
    new: Interval
    lost: Interval

    def each(self, *keys: str) -> list[Any]:
        """A figure of each seed. Example: "new", "f1" """
        found = []
        for result in self.results:
            value: Any = result
            for key in keys:
                value = value[key]
            found.append(value)
        return found

    def mean(self, *keys: str) -> float | None:
        return mean_known(self.each(*keys))

    def lost_by_file(self) -> dict[str, list[float | None]]:
        files = self.results[0]["old"]["by_file"]
        return {name: self.each("old", "by_file", name, "lost") for name in files}

    def worst(self, min_entities: int) -> tuple[str, float] | None:
        """The file that lost most in the mean of the seeds, if it is large enough."""
        files = self.results[0]["old"]["by_file"]
        means = {name: mean_known(x) for name, x in self.lost_by_file().items()}
        large = {
            name: lost
            for name, lost in means.items()
            if lost is not None and files[name]["entities"] >= min_entities
        }
        return max(large.items(), key=lambda item: item[1], default=None)


def make_cell(results: list[Result], counts: list[dict[str, Ints2d]]) -> Cell:
    """results, counts: one a seed, see `scores.arrays`."""

    def stack(group: str) -> list[Ints2d]:
        names = [name for name in counts[0] if name.partition(":")[0] == group]
        return [np.stack([one[name] for one in counts]) for name in names]

    return Cell(
        results,
        learnt_interval(stack("new")),
        lost_interval(stack("old_before"), stack("old_after")),
    )


def group(results: Iterable[Result], load: Callable[[Result], dict]) -> Cells:
    """load: the counts of a result."""
    grouped: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        arms = grouped.setdefault(result["task"], {})
        arms.setdefault(result["arm"], []).append(result)
    return {
        task: {
            arm: make_cell(some, list(map(load, some))) for arm, some in arms.items()
        }
        for task, arms in grouped.items()
    }


def mean_known(values: Sequence[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return mean(known) if known else None


def spread(values: Sequence[float | None]) -> float | None:
    """Standard deviation over seeds, which one seed has none of."""
    known = [x for x in values if x is not None]
    return stdev(known) if len(known) > 1 else None
