"""The results of rounds as figures and as Markdown."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

from ..ablation.summary import number, table
from .course import Result

Summary = dict[str, Any]
CAPTION = (
    "F1 is in points, over whole entities, from raw text, of one type over all files. "
    "Types of the base are scored in the old domain, the others in the new. Each round "
    "starts from the pipeline of the round before, has it as its teacher, and learns "
    "from sentences of its own, in which its types alone are annotated. `lost` is what "
    "later rounds cost: F1 when the type was new, less F1 at the end."
)
EARLIER = (
    "What each round did to the types of all rounds before it, means over types that "
    "have an F1 before and after:"
)


def summarise(results: Sequence[Result]) -> Summary:
    """results: of the base and of all rounds that are done, in their order.

    RETURNS: `types`, by type the round that it is of and its F1 from then on; and
    `rounds`, by round what it learnt and what became of earlier types. F1 in points.
    """
    types = {}
    for round_i, result in enumerate(results):
        for kind in result["types"]:
            f1 = [later["f1"][kind] for later in results[round_i:]]
            lost = _lost(f1[0], f1[-1]) if len(f1) > 1 else None
            types[kind] = {"round": round_i, "f1": f1, "lost": lost}
    rounds = []
    for before, after in pairwise(results):
        new = [after["f1"][kind] for kind in after["types"]]
        rounds.append(
            {
                "types": after["types"],
                "new_f1": _mean(new),
                "earlier": _compare(before["f1"], after["f1"]),
            }
        )
    return {"types": types, "rounds": rounds}


def _compare(before: dict[str, float | None], after: dict) -> dict[str, Any]:
    """Example: {"PER": 80, "LOC": 60}, {"PER": 79, "LOC": 55} -> lost 3, worst LOC"""
    known = [kind for kind, f1 in before.items() if None not in (f1, after[kind])]
    lost = {kind: _lost(before[kind], after[kind]) for kind in known}
    first, second = (_mean([f1[kind] for kind in known]) for f1 in (before, after))
    return {
        "before": first,
        "after": second,
        "lost": _lost(first, second),
        "worst": max(lost, key=lambda kind: lost[kind], default=None),
        "by_type": lost,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return round(mean(known), 2) if known else None


def _lost(before: float | None, after: float | None) -> float | None:
    return None if None in (before, after) else round(before - after, 2)


def to_markdown(summary: Summary, n_rounds: int) -> str:
    """n_rounds: of the whole course."""
    rounds = summary["rounds"]
    parts = ["# Rounds", f"{len(rounds)} of {n_rounds} rounds are done. {CAPTION}"]
    names = [f"{i}: {', '.join(x['types'])}" for i, x in enumerate(rounds, start=1)]
    rows = [
        [kind, *[""] * row["round"], *map(number, row["f1"]), number(row["lost"])]
        for kind, row in summary["types"].items()
    ]
    parts.append(table(["type", "base", *names, "lost"], rows))
    if rounds:
        header = ["round", "F1 of its types", "earlier types, before", "after"]
        rows = [_row(name, x) for name, x in zip(names, rounds, strict=True)]
        parts += [EARLIER, table([*header, "lost", "lost most"], rows)]
    return "\n\n".join(parts) + "\n"


def _row(name: str, row: dict[str, Any]) -> list[str]:
    earlier = row["earlier"]
    worst = earlier["worst"]
    most = "-" if worst is None else f"{worst}: {number(earlier['by_type'][worst])}"
    figures = (earlier[key] for key in ("before", "after", "lost"))
    return [name, number(row["new_f1"]), *map(number, figures), most]
