"""The results of an ablation as Markdown and as rows of a CSV file."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from ..inspection.tables import format_table
from .bootstrap import LEVEL, N_RESAMPLES, Interval
from .cells import Cell, Cells, mean_known, spread
from .plan import Plan
from .store import Result

CAPTION = (
    "F1 is in points, over whole entities, from raw text, micro average over the "
    "entities of a file; old F1 is a mean over files, each counted once. ± is the "
    f"standard deviation over seeds. [low, high] is a {LEVEL}% interval of the mean by "
    f"bootstrap: {N_RESAMPLES:,} times, sentences are drawn within each file, the same "
    "ones for the teacher and all arms, and seeds are drawn; of one seed it says "
    "nothing of other seeds. s is the median time of a training on the clock, CPU s "
    "that of its processors, peak MB the largest memory of its process."
)
HEADER = ("arm", "seeds", "new F1", "old F1 lost", "worst file")
HEADER += ("old types, new domain", "s", "CPU s", "peak MB")


def to_markdown(cells: Cells, plan: Plan, n_runs: int, failed: Iterable[str]) -> str:
    """cells: of the runs that are done. n_runs: of the whole plan."""
    n_done = sum(len(c.results) for arms in cells.values() for c in arms.values())
    parts = ["# Ablation", f"{n_done} of {n_runs} runs are done. {CAPTION}"]
    parts += [f"Failed: {name}." for name in failed]
    for task, arms in cells.items():
        rows = [_row(name, cell, plan) for name, cell in arms.items()]
        parts += [f"## {task}", _about(arms), table(HEADER, rows)]
    if cells:
        parts += ["## Old F1 lost, by file", _about_files(plan)]
        if len(cells) > 1:
            parts += ["Mean over tasks:", _files_over_tasks(cells, plan)]
        for task, arms in cells.items():
            parts += [f"{task}:", _files(arms, plan)]
    transfer = {k: arms for k, arms in cells.items() if len(plan.tasks[k].test) > 1}
    if transfer:
        parts.append("## New F1, by test")
        for task, arms in transfer.items():
            parts += [f"{task}:", _tests(arms)]
    return "\n\n".join(parts) + "\n"


def _about(arms: dict[str, Cell]) -> str:
    result = next(iter(arms.values())).results[0]
    old, in_new, new = result["old"], result["old_in_new"], result["new"]
    n_files = sum(row["lost"] is not None for row in old["by_file"].values())
    types = ", ".join(new["by_type"]) or "none"
    return (
        f"The teacher's old F1 is {number(old['mean_before'])} (mean over {n_files} "
        f"files), and {number(in_new['before'])} in the new domain. New types are "
        f"{types}, with {new['entities']:,} entities to find."
    )


def _row(name: str, cell: Cell, plan: Plan) -> list[Any]:
    worst = cell.worst(plan.old.min_entities)
    before = number(cell.mean("old_in_new", "before"))
    return [
        name,
        len(cell.results),
        _join(with_spread(cell.each("new", "f1")), cell.new),
        _join(with_spread(cell.each("old", "lost_mean")), cell.lost),
        f"{worst[0]} {worst[1]:.1f}" if worst else None,
        f"{before} → {with_spread(cell.each('old_in_new', 'after'))}",
        f"{median(cell.each('seconds')):,.0f}",
        f"{median(cell.each('cpu_seconds')):,.0f}",
        f"{max(cell.each('peak_mb')):,.0f}",
    ]


def _about_files(plan: Plan) -> str:
    return (
        "In brackets the gold entities and the teacher's F1. † has fewer than "
        f"{plan.old.min_entities} entities and is never the worst file, which is bold."
    )


def _files(arms: dict[str, Cell], plan: Plan) -> str:
    lost = {arm: cell.lost_by_file() for arm, cell in arms.items()}
    worst = {arm: cell.worst(plan.old.min_entities) for arm, cell in arms.items()}
    names = _file_names(arms.values(), plan)
    rows = [
        [
            label,
            *(
                _bold(with_spread(lost[arm][name]), worst[arm] and worst[arm][0], name)
                for arm in arms
            ),
        ]
        for name, label in names.items()
    ]
    return table(["file", *arms], rows)


def _files_over_tasks(cells: Cells, plan: Plan) -> str:
    every = list(cells.values())
    names = _file_names((c for arms in every for c in arms.values()), plan)
    columns = {}
    for arm in plan.arms:
        own = [arms[arm].lost_by_file() for arms in every if arm in arms]
        if own:
            few = (
                f" ({len(own)} of {len(every)} tasks)" if len(own) < len(every) else ""
            )
            columns[arm + few] = {
                name: mean_known([mean_known(lost[name]) for lost in own])
                for name in names
            }
    rows = [
        [label, *(number(column[name]) for column in columns.values())]
        for name, label in names.items()
    ]
    return table(["file", *columns], rows)


def _file_names(cells: Iterable[Cell], plan: Plan) -> dict[str, str]:
    """What stands before a file's figures. Example: "tl † (23; 95.5)" """
    by_file = next(iter(cells)).results[0]["old"]["by_file"]
    marks = {
        name: " †" if row["entities"] < plan.old.min_entities else ""
        for name, row in by_file.items()
    }
    return {
        name: f"{name}{marks[name]} ({row['entities']:,}; {number(row['before'])})"
        for name, row in by_file.items()
    }


def _tests(arms: dict[str, Cell]) -> str:
    tests = next(iter(arms.values())).results[0]["new"]["by_test"]
    rows = [
        [
            f"{name} ({tests[name]['entities']:,})",
            *(with_spread(c.each("new", "by_test", name, "f1")) for c in arms.values()),
        ]
        for name in tests
    ]
    return table(["test (entities)", *arms], rows)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def with_spread(values: Sequence[float | None]) -> str:
    """Example: [30.0, 32.0] -> "31.0 ± 1.4" """
    deviation = spread(values)
    text = number(mean_known(values))
    return text if deviation is None else f"{text} ± {deviation:.1f}"


def _join(text: str, interval: Interval) -> str:
    return f"{text} [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else text


def _bold(text: str, worst: str | None, name: str) -> str:
    return f"**{text}**" if name == worst else text


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    return format_table(header, rows, "l" + "r" * (len(header) - 1))


def wide(result: Result) -> dict[str, Any]:
    """A run as a row with all its figures; old types and files by name."""
    new, old, in_new = result["new"], result["old"], result["old_in_new"]
    names = ("task", "arm", "seed", "seconds", "cpu_seconds", "peak_mb")
    row = {name: result[name] for name in names}
    row |= {f"new_{key}": new[key] for key in ("f1", "p", "r", "entities")}
    for group in ("test", "type"):
        for name, one in new[f"by_{group}"].items():
            row[f"new_{group}_{name}_f1"] = one["f1"]
    row |= {f"old_in_new_{key}": value for key, value in in_new.items()}
    row |= {f"old_{key}": value for key, value in old.items() if key != "by_file"}
    for name, one in old["by_file"].items():
        row |= {f"old_{name}_{key}": value for key, value in one.items()}
    return row | {"digest": result["digest"]}
