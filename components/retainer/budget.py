"""How much may be forgotten: a limit that a run of tests can stand on."""

from math import inf
from typing import Any

from .errors import UserError

Budget = dict[str, Any]


def check_limits(max_forgetting: float | None, min_entities: int) -> None:
    """Raise UserError unless both can be kept to."""
    for option, value in (
        ("--max-forgetting", 0 if max_forgetting is None else max_forgetting),
        ("--min-entities", min_entities),
    ):
        if not 0 <= value < inf:  # NaN is not either
            raise UserError(
                f"A finite number from 0 up was expected for {option}, but {value} "
                "came. Correct it."
            )


def judge(
    forgetting: dict[str, Any], max_forgetting: float, min_entities: int
) -> Budget:
    """Which files of the old domain lost more points of F1 than they may.

    forgetting: of the report. min_entities: gold entities of old types that a file
        needs for its loss to count.
    RETURNS: max_forgetting; min_entities; broken, kept, not_counted: the files, each
    with its points lost and gold entities. Not counted are files of fewer entities,
    and those where teacher or student has no F1.
    """
    files: dict[str, dict[str, Any]] = {"broken": {}, "kept": {}, "not_counted": {}}
    for name, row in forgetting["by_file"].items():
        verdict = "broken" if (row["lost"] or 0) > max_forgetting else "kept"
        if row["lost"] is None or row["entities"] < min_entities:
            verdict = "not_counted"
        files[verdict][name] = {"lost": row["lost"], "entities": row["entities"]}
    return {"max_forgetting": max_forgetting, "min_entities": min_entities, **files}


def describe_file(name: str, row: dict[str, Any]) -> str:
    """Example: "de lost 3.50 points, of 12 gold entities" """
    lost = "has no F1" if row["lost"] is None else f"lost {row['lost']:.2f} points"
    noun = "entity" if row["entities"] == 1 else "entities"
    return f"{name} {lost}, of {row['entities']:,} gold {noun}"


def describe_budget(budget: Budget) -> str:
    """Which files broke it and which did not count, in a sentence each."""
    n_broken, n_kept = len(budget["broken"]), len(budget["kept"])
    sentences = [
        f"At most {budget['max_forgetting']:g} points of F1 may be lost by a file of "
        f"the old domain: {n_kept} of {n_broken + n_kept} files keep to that."
    ]
    for key, lead in (
        ("broken", "They do not:"),
        (
            "not_counted",
            f"Not counted (no F1, or fewer than {budget['min_entities']} gold "
            "entities of old types):",
        ),
    ):
        listed = "; ".join(describe_file(*item) for item in budget[key].items())
        if listed:
            sentences.append(f"{lead} {listed}.")
    if not n_broken + n_kept:
        sentences.append("No file counts, so nothing was checked.")
    return " ".join(sentences)


def demand(budget: Budget, where: str) -> None:
    """Raise UserError if the budget is broken. where: what was lost is shown."""
    broken = budget["broken"]
    if not broken:
        return
    lines = [f"- {describe_file(name, row)}" for name, row in broken.items()]
    what = (
        f"No file of the old domain was expected to lose more than "
        f"{budget['max_forgetting']:g} points of F1 (--max-forgetting), but "
        f"{len(broken)} of {len(broken) + len(budget['kept'])} did. See in {where} "
        "what was lost; train with more weight on the teacher, or allow more."
    )
    raise UserError("\n".join([what, *lines]))
