"""The report of `report.py` as Markdown: what a person reads."""

from typing import Any

from .inspection.entries import printable
from .inspection.tables import Table, escape, format_table, show
from .labels import OUTSIDE
from .report_sections import sections, summary


def to_table(table: Table) -> str:
    shown = [[show(cell) for cell in row] for row in table.rows]
    return format_table(table.header, shown, table.aligns)


def summary_table(report: dict[str, Any]) -> str:
    """The few figures that tell whether it went well, as Markdown."""
    return to_table(summary(report))


def to_markdown(report: dict[str, Any]) -> str:
    """The whole report: summary, forgetting by file and type, learning likewise."""
    parts = ["# Learnt and forgotten", summary_table(report)]
    for section in sections(report):
        parts.append(f"## {section.title}")
        parts += [escape(section.lead)] if section.lead else []
        if section.key == "examples":
            parts.append(to_table(examples_table(report["examples"])))
        for table in section.tables:
            parts += [f"{escape(table.caption)}:", to_table(table)]
    return "\n\n".join(parts) + "\n"


def examples_table(examples: list[dict[str, Any]]) -> Table:
    rows = []
    for example in examples:
        text, lost = printable(example["text"]), example["entity"]
        marked = {
            "before": text[: lost["start"]],
            "entity": text[lost["start"] : lost["end"]],
            "after": text[lost["end"] :],
        }
        annotations = (example[name] for name in ("teacher", "student"))
        said = [say(text, lost, spans) for spans in annotations]
        rows.append([example["file"], marked, lost["label"], *said])
    return Table("", ["file", "text", "gold", "teacher", "student"], rows)


def say(text: str, lost: dict[str, Any], spans: list[dict[str, Any]]) -> str:
    """What is said of an entity. Example: "LOC of York, PER of Times", or "O" """
    start, end = lost["start"], lost["end"]
    touching = (s for s in spans if s["start"] < end and start < s["end"])
    said = [
        s["label"]
        if (s["start"], s["end"]) == (start, end)
        else f"{s['label']} of {text[s['start'] : s['end']]}"
        for s in touching
    ]
    return ", ".join(said) or OUTSIDE
