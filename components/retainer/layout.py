"""How a CoNLL-like file is laid out: separator, columns and tag scheme.

All is found by counting over the whole file, and any part of it can be given instead.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from .columns import (
    CHUNKS,
    Columns,
    count_columns,
    count_prefixed,
    data_lines,
    find_index,
    find_separator,
    find_spacing,
    holds_plain,
    is_tags,
    split_line,
    types_of,
)
from .errors import UserError
from .faults import TOLERATED
from .labels import OUTSIDE
from .schemes import PLAIN, PREFIXED, SCHEMES, find_scheme

SEPARATORS = {"tab": "\t", "space": " "}
Lines = Callable[[], Iterable[str]]


@dataclass(frozen=True)
class ReadOptions:
    """What is known of a file, instead of finding it out; None: find it out.

    token_column, tag_column: a number counted from 1, or from the end with -1, for
        CoNLL; a name for the datasets of HuggingFace.
    separator: of SEPARATORS. scheme: of SCHEMES.
    """

    token_column: str | None = None
    tag_column: str | None = None
    separator: str | None = None
    scheme: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name, known in (("separator", SEPARATORS), ("scheme", SCHEMES)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise UserError(
                    f"A {name} of {', '.join(known)} was expected, but it is "
                    f"'{value}'. Correct it, or leave it to be found."
                )


@dataclass(frozen=True)
class Layout:
    """Columns are counted from 0; tags: those that can be read.

    has_ranges: the index counts words as CoNLL-U does, where 3-4 covers two of them.
    """

    separator: str
    width: int
    token: int
    tag: int
    index: int | None
    spacing: int | None
    scheme: str
    tags: frozenset[str]
    has_ranges: bool = False
    other_tags: tuple[int, ...] = ()

    def is_tag(self, cell: str) -> bool:
        """Also of a tag that only lines of an unusual width have."""
        return cell in self.tags or PREFIXED.fullmatch(cell) is not None

    @property
    def is_simple(self) -> bool:
        """Whether a line says nothing beside token and tag."""
        return self.index is None and self.spacing is None

    def __str__(self) -> str:
        """Example: "TAB, 4 columns, token 2, tag 4, BIO" """
        separator = "TAB" if self.separator == "\t" else "space"
        columns = f"{self.width} columns, token {self.token + 1}, tag {self.tag + 1}"
        others = ", ".join(str(column + 1) for column in self.other_tags)
        note = f" (tags in {others} too)" if others else ""
        spacing = "" if self.spacing is None else f", spacing {self.spacing + 1}"
        return f"{separator}, {columns}{note}{spacing}, {self.scheme}"


def find_layout(lines: Lines, path: str, options: ReadOptions) -> Layout | None:
    """RETURNS: None for a file without data. lines: gives all lines, each time anew."""
    given = SEPARATORS.get(options.separator)
    for comment in ("#", ""):  # all that there is may be tokens such as #1
        separator = given or find_separator(lines(), comment)
        columns = count_columns(lines(), separator, comment)
        if columns is not None:
            break
    else:
        return None
    tag, others = _find_tags(columns, options, path)
    index = find_index(columns, tag)
    token = _given(options.token_column, columns.width, path)
    if token is None:
        token = next((c for c in range(columns.width) if c not in (tag, index)), None)
    if token is None or token == tag:
        raise _refusal(path, "each line has one column alone", columns)
    tags: Counter[str] = Counter()
    for cell, n in columns.cells[tag].items():
        tags[cell.strip()] += n
    layout = Layout(
        separator=separator,
        width=columns.width,
        token=token,
        tag=tag,
        index=index,
        spacing=find_spacing(columns, token, tag),
        scheme="",
        tags=frozenset(),
        has_ranges=index is not None and any(map(str.isdigit, columns.cells[index])),
        other_tags=others,
    )

    def paths() -> Iterator[list[str]]:
        return _tag_paths(data_lines(lines(), comment), layout)

    scheme = options.scheme or find_scheme(tags, paths)
    return replace(layout, scheme=scheme, tags=_readable(tags, scheme))


def _readable(tags: Counter[str], scheme: str) -> frozenset[str]:
    """Beside prefixed tags and O, a type alone: where it stands with a prefix too.

    In a file without prefixes every type is alone; if nearly all of them are in
    capitals, a word in small letters is none.
    """
    if scheme != "plain":
        known = {tag for tag in tags if PREFIXED.fullmatch(tag)}
        return frozenset({OUTSIDE} | known | (types_of(tags) & set(tags)))
    plain = {tag for tag in tags if tag != OUTSIDE and PLAIN.fullmatch(tag)}
    capitals = {tag for tag in plain if tag == tag.upper()}
    n_small = sum(tags[tag] for tag in plain - capitals)
    is_slip = n_small <= TOLERATED * sum(tags[tag] for tag in plain)
    return frozenset((capitals if is_slip else plain) | {OUTSIDE})


def _given(column: str | None, width: int, path: str) -> int | None:
    """A column as it was given, counted from 0."""
    if column is None:
        return None
    number = int(column) if re.fullmatch(r"-?\d+", column) else 0
    if not 1 <= abs(number) <= width:
        raise UserError(
            f"A column from 1 to {width}, or -1 for the last, was expected for "
            f"'{path}', but it is '{column}'. Correct it."
        )
    return number - 1 if number > 0 else width + number


def _find_tags(
    columns: Columns, options: ReadOptions, path: str
) -> tuple[int, tuple[int, ...]]:
    """The column of tags: that with the most entities, the last of those.

    RETURNS: the column, and others that hold tags as well.
    """
    given = _given(options.tag_column, columns.width, path)
    if given is not None:
        return given, ()
    prefixed = {c: count_prefixed(columns.cells[c]) for c in range(columns.width)}
    found = [c for c, n in prefixed.items() if n]
    if OUTSIDE not in columns.cells[0] and any(map(is_tags, columns.cells[1:])):
        found = [c for c in found if c > 0]  # S-Bahn and the like, which are tokens
    of_entities = [c for c in found if not types_of(columns.cells[c]) <= CHUNKS]
    if of_entities:
        best = max(of_entities, key=lambda c: (prefixed[c], c))
        return best, tuple(c for c in of_entities if c != best)
    plain = [c for c in range(1, columns.width) if holds_plain(columns.cells[c])]
    with_outside = [c for c in plain if OUTSIDE in columns.cells[c]]
    likely = with_outside or found or plain
    if not likely:
        raise _refusal(path, "no column of it holds tags", columns)
    return likely[-1], ()


def _tag_paths(
    lines: Iterable[tuple[int, str, bool]], layout: Layout
) -> Iterator[list[str]]:
    """The tags of each sentence, as they stand there. lines: see `data_lines`."""
    path: list[str] = []
    for _, line, is_first in lines:
        if is_first and path:
            yield path
            path = []
        cells = split_line(line, layout.separator)
        path.append(cells[layout.tag].strip() if len(cells) > layout.tag else OUTSIDE)
    yield path


def _refusal(path: str, reason: str, columns: Columns) -> UserError:
    line_i, line = columns.example
    is_csv = columns.width == 1 and "," in line
    hint = " Columns are separated by TABs or spaces, not by commas." if is_csv else ""
    return UserError(
        f"Lines 'TOKEN<TAB>TAG' were expected in '{path}', but {reason}: "
        f"{path}:{line_i} is {line[:80]!r} ({columns.n} lines, most with "
        f"{columns.width} columns).{hint} Name the column of tags if there is one, or "
        "leave the file out."
    )
