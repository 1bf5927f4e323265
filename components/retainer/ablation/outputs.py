"""What an ablation writes beside its runs."""

import csv
import io
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from ..files import replacing, write_text
from .cells import group
from .plan import Run
from .store import Result, Store
from .summary import to_markdown, wide


def can_plot() -> bool:
    return find_spec("matplotlib") is not None


def write_outputs(store: Store) -> str:
    """results.csv, summary.md and, if matplotlib is there, pareto.png.

    RETURNS: the summary.
    """
    results = in_order(store, store.results().values())

    def load(result: Result) -> dict[str, Any]:
        run = Run(task=result["task"], arm=result["arm"], seed=result["seed"])
        return store.counts(run)

    cells = group(results, load)
    failed = [run.name for run in store.failures()]
    summary = to_markdown(cells, store.plan, len(store.runs), failed)
    write_text(summary, store.output / "summary.md")
    rows = [wide(result) for result in results]
    write_text(to_csv(rows), store.output / "results.csv")
    if can_plot() and cells:
        from .plot import draw

        with replacing(store.output / "pareto.png") as path:
            draw(cells, path)
    return summary


def in_order(store: Store, results: Iterable[Result]) -> list[Result]:
    """By task, arm and seed as in the plan."""
    tasks, arms = list(store.plan.tasks), list(store.plan.arms)

    def place(result: Result) -> tuple[int, int, int]:
        task, arm = tasks.index(result["task"]), arms.index(result["arm"])
        return task, arm, result["seed"]

    return sorted(results, key=place)


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Rows may lack columns of other rows."""
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
