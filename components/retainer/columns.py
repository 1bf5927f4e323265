"""The columns of a CoNLL-like file, counted over the whole of it: which holds what."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from .labels import OUTSIDE
from .schemes import MISSING, PLAIN, PREFIXED

DOCSTART = "-DOCSTART-"
BLANKS = " \t"
CHUNK_SIZE = 500  # lines; with more, the garbage collector takes most of the time
NO_SPACE = re.compile(r"(?:^|\|)(?:SpaceAfter=No|NoSpaceAfter)(?:$|\|)")
INDEX = re.compile(r"\d+(?:[-.:]\d+)*")
FIRST_INDEX = re.compile(r"[01](?:[-.:]\d+)?|\d+[-:]1")
# The phrases of the Penn Treebank: CoNLL-2003 has a column of them in BIO as well.
CHUNKS = frozenset(
    ["NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"]
)
# Parts of speech, of Universal Dependencies and of the Penn Treebank: no entities.
SPEECH = re.compile(
    r"ADJ|ADP|ADV|AUX|CCONJ|DET|INTJ|NOUN|NUM|PART|PRON|PROPN|PUNCT|SCONJ|SYM|VERB|X"
    r"|CC|CD|DT|EX|FW|IN|JJ[RS]?|LS|MD|NNP?S?|PDT|POS|PRP|RB[RS]?|RP|TO|UH|VB[DGNPZ]?"
    r"|WDT|WP|WRB"
)
FEW = 10  # lines from which on a first column of numbers is no column of words
PLAUSIBLE = 0.5  # the share of cells with a tag that makes a column one of tags


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


def types_of(cells: Iterable[str]) -> set[str]:
    return {cell.strip()[2:] for cell in cells if PREFIXED.fullmatch(cell.strip())}


def count_prefixed(cells: Counter[str]) -> int:
    """The tags with a prefix among the cells; 0 for a column that is none of tags."""
    counts = Counter[str]()
    for cell, n in cells.items():
        counts[_kind(cell.strip())] += n
    n_tags = counts["prefixed"] + counts["outside"]
    return counts["prefixed"] if n_tags >= PLAUSIBLE * (n_tags + counts["other"]) else 0


def is_tags(cells: Counter[str]) -> bool:
    """Whether nothing but O and tags with a prefix is there."""
    return {_kind(cell.strip()) for cell in cells} <= {"prefixed", "outside"}


def _kind(cell: str) -> str:
    if cell in (OUTSIDE, MISSING):
        return "outside" if cell == OUTSIDE else "missing"
    return "prefixed" if PREFIXED.fullmatch(cell) else "other"


def holds_plain(cells: Counter[str]) -> bool:
    """Whether the cells may be types without a prefix.

    Without an O among them they have to be in capitals, as words are not, few, and
    not all parts of speech.
    """
    tags = Counter(
        {tag: n for cell, n in cells.items() if PLAIN.fullmatch(tag := cell.strip())}
    )
    if not tags or tags.total() < PLAUSIBLE * (cells.total() - cells[MISSING]):
        return False
    if OUTSIDE in tags:
        return True
    if all(map(SPEECH.fullmatch, tags)):
        return False
    return all(tag == tag.upper() for tag in tags) and len(tags) <= max(
        1, tags.total() // 2
    )


def find_index(columns: Columns, tag: int) -> int | None:
    """The first column, if it counts tokens or sentences and another has the words.

    A few words that are all numbers are taken for words, unless they begin with 1.
    """
    cells = columns.cells[0]
    if columns.width < 3 or tag == 0 or not all(map(INDEX.fullmatch, cells)):
        return None
    starts_anew = all(map(FIRST_INDEX.fullmatch, columns.firsts))
    return 0 if starts_anew or cells.total() >= FEW else None


def find_spacing(columns: Columns, token: int, tag: int) -> int | None:
    """The column that says where there is no space."""
    for column, cells in enumerate(columns.cells):
        if column not in (token, tag) and any(map(NO_SPACE.search, cells)):
            return column
    return None
