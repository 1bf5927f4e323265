"""Sections of tables, the same for a terminal and a page."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .findings import percent

Cell = str | int | float | dict[str, str] | None
# What ends a cell; what would be HTML, a link, or a picture from elsewhere.
ESCAPES = {"|": "\\|", "<": "&lt;", "](": "]&#40;"}
NUMBER = re.compile(r"[\d.,<%-]+")


@dataclass
class Table:
    """A float is a share; a dict is an example (see `inspection`)."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]

    @property
    def aligns(self) -> str:
        """By column: r for numbers, l for text, as the first always is."""
        columns = zip(*self.rows, strict=True)
        is_number = [all(NUMBER.fullmatch(show(x)) for x in xs) for xs in columns]
        return "".join("lr"[number] for number in [False, *is_number[1:]])


@dataclass
class Section:
    """lead: what there is to say before the tables."""

    key: str
    title: str
    lead: str
    tables: list[Table]


def make_section(
    key: str, title: str, lead: str, *tables: tuple[str, str, Iterable[list[Cell]]]
) -> Section:
    """tables: caption, columns separated by |, rows; left out without any."""
    made = [Table(caption, head.split("|"), [*rows]) for caption, head, rows in tables]
    return Section(key, title, lead, [table for table in made if table.rows])


def escape(text: str) -> str:
    for characters, escaped in ESCAPES.items():
        text = text.replace(characters, escaped)
    return text


def format_table(
    header: Sequence[Any], rows: Iterable[Sequence[Any]], aligns: str
) -> str:
    """As Markdown; None becomes "-". aligns: see `Table`."""

    def line(cells: Iterable[Any]) -> str:
        texts = ("-" if cell is None else str(cell) for cell in cells)
        return "| " + " | ".join(map(escape, texts)) + " |"

    rule = ["---:" if align == "r" else "---" for align in aligns]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def show(cell: Cell) -> str:
    """Example: 1200 -> "1,200"; 0.5 -> "50%"; None -> "-" """
    if isinstance(cell, dict):
        return f"{cell['before']}[{cell['entity']}]{cell['after']}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return cell if isinstance(cell, str) else percent(cell)
