"""The report of `report.py` as Markdown: what a person reads."""

from collections.abc import Iterable, Sequence
from typing import Any


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    def line(cells: Iterable[Any]) -> str:
        texts = ("-" if x is None else str(x).replace("|", "\\|") for x in cells)
        return "| " + " | ".join(texts) + " |"

    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join([line(header), line(rule), *map(line, rows)])


def summary_table(report: dict[str, Any]) -> str:
    """The few figures that tell whether it went well, as Markdown."""
    lost, old = report["forgetting"], report["old_in_new"]
    files = lost["by_file"].values()
    return _table(
        ["F1, points", "teacher", "student", "lost"],
        [
            [
                "old types, old domain, mean over files",
                _mean(row["before"] for row in files),
                _mean(row["after"] for row in files),
                lost["mean"],
            ],
            ["old types, old domain, worst file", None, None, lost["worst"]],
            ["old types, new domain", old["before"], old["after"], old["lost"]],
            ["new types, new domain", None, report["new"]["f1"], None],
        ],
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 2) if known else None


def to_markdown(report: dict[str, Any]) -> str:
    """The whole report: summary, forgetting by file and type, learning likewise."""
    old_types, new_types = report["old_types"], report["new_types"]
    compared = ["teacher", "student", "lost"]
    parts = ["# Learnt and forgotten", summary_table(report)]
    for title, part in (
        ("Old types, old domain: forgetting", report["forgetting"]["by_file"]),
        ("Old types, new domain", report["old_in_new"]["by_file"]),
    ):
        header = ["file", "entities", *compared, *(f"{t} lost" for t in old_types)]
        rows = [
            [
                name,
                row["entities"],
                row["before"],
                row["after"],
                row["lost"],
                *(row["by_type"][kind]["lost"] for kind in old_types),
            ]
            for name, row in part.items()
        ]
        parts += [f"## {title}", _table(header, rows)]
    learnt_rows = [["all", report["new"]], *report["new"]["by_type"].items()]
    parts += [
        "## New types, new domain: learning",
        _table(
            ["type", "entities", "precision", "recall", "F1"],
            [[k, r["entities"], r["p"], r["r"], r["f1"]] for k, r in learnt_rows],
        ),
        _table(
            ["file", "entities", "F1", *new_types],
            [
                [
                    name,
                    row["entities"],
                    row["f1"],
                    *(row["by_type"][kind]["f1"] for kind in new_types),
                ]
                for name, row in report["new"]["by_file"].items()
            ],
        ),
    ]
    rows = [
        [f"{domain}: {name}", row["raw"], row["gold"], row["lost"]]
        for domain, part in report["tokens"].items()
        for name, row in part.items()
    ]
    parts += [
        "## Student on raw text and on gold tokens, all types",
        _table(["file", "raw text", "gold tokens", "lost on raw text"], rows),
    ]
    found = sum(r["new_types_found"] for r in report["forgetting"]["by_file"].values())
    parts.append(
        f"Entities of new types that the student sees in the old domain: {found}."
    )
    if report["unknown_types"]:
        listed = ", ".join(f"{k} ({n})" for k, n in report["unknown_types"].items())
        parts.append(f"Gold entities of types that neither knows: {listed}.")
    return "\n\n".join(parts) + "\n"
