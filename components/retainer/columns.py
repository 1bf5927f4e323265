"""The lines of a CoNLL-like file as columns, counted over the whole of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

DOCSTART = "-DOCSTART-"
BLANKS = " \t"
CHUNK_SIZE = 500  # lines; with more, the garbage collector takes most of the time


@dataclass
class Columns:
    """Counts over the lines of the most frequent width.

    cells: how often each text stands in each column. firsts: the first cells of the
    sentences. n: all lines of data, of whatever width. example: the first of them,
    and where in the file it is.
    """

    width: int
    cells: list[Counter[str]]
    firsts: set[str]
    n: int
    example: tuple[int, str]


def split_line(line: str, separator: str) -> list[str]:
    """Example: " a  O ", " " -> ["a", "O"]; " a \\tO", "\\t" -> [" a ", "O"]"""
    if separator == "\t":
        return line.split("\t")
    return [cell for cell in line.replace("\t", " ").split(" ") if cell]


def is_break(line: str) -> bool:
    """Whether a line ends a sentence."""
    return not line.strip(BLANKS) or line.startswith(DOCSTART)


def data_lines(
    lines: Iterable[str], comment: str = "#"
) -> Iterator[tuple[int, str, bool]]:
    """The lines that may hold a token, each with its number from 1.

    And whether it begins a sentence.
    """
    is_first = True
    for line_i, line in enumerate(lines, start=1):
        if is_break(line):
            is_first = True
        elif line[0] != comment:
            yield line_i, line, is_first
            is_first = False


def find_separator(lines: Iterable[str], comment: str = "#") -> str:
    n_tabs = Counter("\t" in line for _, line, _ in data_lines(lines, comment))
    return "\t" if n_tabs[True] >= n_tabs[False] else " "


def count_columns(
    lines: Iterable[str], separator: str, comment: str = "#"
) -> Columns | None:
    """RETURNS: None for a file without data."""
    cells: dict[int, list[Counter[str]]] = {}
    n_lines: Counter[int] = Counter()
    firsts = set()
    example = None
    data = data_lines(lines, comment)
    while chunk := list(islice(data, CHUNK_SIZE)):
        rows = defaultdict(list)
        for line_i, line, is_first in chunk:
            example = example or (line_i, line)
            row = split_line(line, separator)
            rows[len(row)].append(row)
            if is_first:
                firsts.add(row[0])
        for width, group in rows.items():
            n_lines[width] += len(group)
            counters = cells.setdefault(width, [Counter() for _ in range(width)])
            for counter, column in zip(counters, zip(*group, strict=True), strict=True):
                counter.update(column)
    if not n_lines:
        return None
    width = max(n_lines, key=lambda width: (n_lines[width], width))
    return Columns(width, cells[width], firsts, n_lines.total(), example)
