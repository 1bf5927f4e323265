"""The report in sections of tables, the same for Markdown and for the page."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .budget import describe_budget
from .forgotten import WRONG
from .inspection.tables import Cell, Section, Table

Report = dict[str, Any]
FATES = ("entities", "kept", "lost", "won", "net_lost")
HEADS = [fate.replace("_", " ") for fate in FATES]
LEGEND = (
    "Of the gold entities of old types, teacher and student both found those kept, "
    "the teacher alone those lost, the student alone those won; net lost is lost less "
    "won. Wrong are entities that gold has not. Nothing, other bounds and types are "
    "what the student says in the place of those lost."
)
HOW = (
    "Found by the teacher, and not by the student: each time what gold, teacher and "
    "student say."
)


def decimal(points: float | None) -> str | None:
    """Example: 3.5 -> "3.50" """
    return None if points is None else f"{points:.2f}"


def decimals(row: dict[str, float | None], keys: str) -> list[Cell]:
    return [decimal(row[key]) for key in keys.split()]


def summary(report: Report) -> Table:
    """The few figures that tell whether it went well."""
    lost, old = report["forgetting"], report["old_in_new"]
    files = lost["by_file"].values()
    rows: list[list[Cell]] = [
        [
            "old types, old domain, mean over files",
            decimal(mean(row["before"] for row in files)),
            decimal(mean(row["after"] for row in files)),
            decimal(lost["mean"]),
        ],
        ["old types, old domain, worst file", None, None, decimal(lost["worst"])],
        ["old types, new domain", *decimals(old, "before after lost")],
        ["new types, new domain", None, decimal(report["new"]["f1"]), None],
    ]
    return Table(
        "Teacher and student", ["F1, points", "teacher", "student", "lost"], rows
    )


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def sections(report: Report) -> list[Section]:
    found = sum(r["new_types_found"] for r in report["forgetting"]["by_file"].values())
    lead = f"Entities of new types that the student sees in the old domain: {found:,}."
    budget = describe_budget(report["budget"]) if report.get("budget") else ""
    parts = [
        Section("budget", "What may be forgotten", budget, []),
        Section(
            "forgetting",
            "Old types, old domain: forgetting",
            f"{lead} {LEGEND}",
            compared_tables(report, "old", report["forgetting"]["by_file"]),
        ),
        Section(
            "examples",
            "Examples of what was lost",
            HOW if report["examples"] else "",
            [],
        ),
        Section(
            "old_in_new",
            "Old types, new domain",
            "",
            compared_tables(report, "new", report["old_in_new"]["by_file"]),
        ),
        _learning(report),
        _tokens(report["tokens"]),
    ]
    for part in parts:
        part.tables = [table for table in part.tables if table.rows]
    return [part for part in parts if part.tables or part.lead]


def compared_tables(report: Report, domain: str, by_file: Report) -> list[Table]:
    """F1 of old types before and after, then their entities. by_file: see `compare`."""
    types = report["old_types"]
    table = Table(
        "F1 by file, and F1 lost by type",
        [
            "file",
            "entities",
            "teacher",
            "student",
            "lost",
            *(f"{t} lost" for t in types),
        ],
        [
            [
                name,
                row["entities"],
                *decimals(row, "before after lost"),
                *(decimal(row["by_type"][kind]["lost"]) for kind in types),
            ]
            for name, row in by_file.items()
        ],
    )
    return [table, *entity_tables(report["confusions"][domain], report)]


def entity_tables(confusions: Report, report: Report) -> list[Table]:
    """What became of entities: by file, by file and type, by type; what is new."""
    types = report["old_types"]
    files = confusions["by_file"]
    rows = files | ({"all": confusions["all"]} if len(files) > 1 else {})
    heads = [*HEADS, "teacher wrong", "student wrong"]
    became = ["nothing", "other bounds", "other old type", "new type"]
    return [
        Table(
            "Entities by file, and what became of those lost",
            ["file", *heads, *became],
            [
                [name, *(row[key] for key in (*FATES, *WRONG)), *outcome(row)]
                for name, row in rows.items()
            ],
        ),
        Table(
            "Entities by file and type: net lost, and of how many",
            ["file", *(head for kind in types for head in (kind, f"of {kind}"))],
            [
                [name, *(n for kind in types for n in net(row["by_type"][kind]))]
                for name, row in rows.items()
            ],
        ),
        became_table(confusions["all"]["by_type"], report),
        found_table(rows, report),
    ]


def outcome(row: Report) -> list[int]:
    """Of lost ones: to nothing, to other bounds, to old types, to new types."""
    became = row["became"]
    others = (sum(became[key].values()) for key in ("old_types", "new_types"))
    return [became["nothing"], became["other_bounds"], *others]


def net(row: Report) -> list[int | None]:
    return [row["net_lost"], row["entities"]] if row["entities"] else [None, None]


def became_table(by_type: Report, report: Report) -> Table:
    """Gold type by the student's type, over all files."""
    said = {
        kind: row["became"]["old_types"] | row["became"]["new_types"]
        for kind, row in by_type.items()
    }
    heads = in_order(said.values(), report)
    return Table(
        "Lost entities by type, and what the student says there",
        ["gold type", *HEADS, "nothing", "other bounds"]
        + [f"as {head}" for head in heads],
        [
            [
                kind,
                *(row[fate] for fate in FATES),
                *outcome(row)[:2],
                *(None if head == kind else said[kind].get(head, 0) for head in heads),
            ]
            for kind, row in by_type.items()
            if row["entities"]
        ],
    )


def found_table(rows: Report, report: Report) -> Table:
    found = {name: row["found_in_nothing"] for name, row in rows.items()}
    heads = in_order(found.values(), report)
    return Table(
        "Found by the student where neither gold nor the teacher has anything",
        ["file", *heads],
        [[k, *(of.get(h, 0) for h in heads)] for k, of in found.items() if heads],
    )


def in_order(counts: Iterable[dict[str, int]], report: Report) -> list[str]:
    """The types that occur: old ones, new ones."""
    total = sum(map(Counter, counts), Counter())
    return [t for t in [*report["old_types"], *report["new_types"]] if total[t]]


def _learning(report: Report) -> Section:
    new, types = report["new"], report["new_types"]
    unknown = ", ".join(f"{k} ({n})" for k, n in report["unknown_types"].items())
    rows = {"all": new} | new["by_type"]
    by_type = Table(
        "By type",
        ["type", "entities", "precision", "recall", "F1"],
        [[k, r["entities"], *decimals(r, "p r f1")] for k, r in rows.items()],
    )
    by_file = Table(
        "F1 by file and type",
        ["file", "entities", "F1", *types],
        [
            [
                name,
                row["entities"],
                decimal(row["f1"]),
                *(decimal(row["by_type"][kind]["f1"]) for kind in types),
            ]
            for name, row in new["by_file"].items()
        ],
    )
    lead = f"Gold entities of types that neither knows: {unknown}." if unknown else ""
    return Section(
        "learning", "New types, new domain: learning", lead, [by_type, by_file]
    )


def _tokens(tokens: Report) -> Section:
    rows: Sequence[list[Cell]] = [
        [f"{domain}: {name}", *decimals(row, "raw gold lost")]
        for domain, part in tokens.items()
        for name, row in part.items()
    ]
    header = ["file", "raw text", "gold tokens", "lost on raw text"]
    title = "Student on raw text and on gold tokens, all types"
    return Section("tokens", title, "", [Table("F1 by file", header, list(rows))])
