"""What is wrong in a data file: every fault with its place, and what was done."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .errors import UserError

# Each kind of fault, and what is done about it. Nothing here can teach a wrong tag:
# where the tag itself is in doubt, the token stays without annotation.
REMEDIES = {
    "unreadable tag": "the token is left without annotation",
    "missing tag": "the token is left without annotation",
    "empty token": "the line is left out",
    "spaces in a token": "they are kept",
    "other columns": "the columns that are there are read",
    "other separator": "the line is split at its spaces",
    "header": "the line is left out",
    "tag without prefix": "read as an inside tag",
    "illegal transition": "read as the start of an entity",
    "unfinished entity": "it ends where its tags end",
    "two entities in one token": "the first is kept",
    "text and tokens differ": "the spaces are guessed from the tokens",
    "blank entity": "left out",
    "broken record": "left out",
    "span outside the text": "what no other span covers is left without annotation",
    "span and its text differ": "what no other span covers is left without annotation",
    "overlapping spans": "the longest is kept, what else they cover is not annotated",
    "span with blank edges": "the blanks are cut off",
    "span inside a word": "the word is cut there",
    "offsets in UTF-16": "converted to characters",
    "rare type": "kept as it is",
    "text without a token": "left out",
    "unwritable text": "its line breaks and TABs are written as spaces",
    "annotation inside a token": "written on the whole token",
}
# Which share of a file's lines or records may be without a readable tag, be left out
# or the like; more of them, and the file is something else.
TOLERATED = 0.05
UNREADABLE = frozenset(
    ("unreadable tag", "missing tag", "empty token", "broken record")
)
N_SHOWN = 10


@dataclass(frozen=True)
class Fault:
    """kind: of REMEDIES. place: "file:line". detail: what is there."""

    kind: str
    place: str
    detail: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}: {self.detail}"


@dataclass
class FileLog:
    """What reading one file met.

    layout: how the file was read. skipped: what is no data, such as comments.
    """

    path: str
    layout: str = ""
    faults: list[Fault] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, line: int, detail: str) -> None:
        self.add_at(kind, f"{self.path}:{line}", detail)

    def add_at(self, kind: str, place: str, detail: str) -> None:
        if kind not in REMEDIES:
            raise ValueError(f"One of {', '.join(REMEDIES)} was expected, not {kind!r}")
        self.faults.append(Fault(kind, place, detail))

    def check_share(self, n: int, unit: str) -> None:
        """Raise UserError when too many of n lines or records cannot be read."""
        unreadable = [fault for fault in self.faults if fault.kind in UNREADABLE]
        n_faulty = len({fault.place for fault in unreadable})
        if n_faulty <= TOLERATED * n:
            return
        read_as = f", read as {self.layout}" if self.layout else ""
        raise UserError(
            f"At most {TOLERATED:.0%} of faulty {unit} were expected in '{self.path}', "
            f"but {n_faulty} of {n} are faulty{read_as}. Correct them, or say how the "
            f"file is to be read:\n{listing(unreadable)}"
        )


def listing(faults: Sequence[Fault], n_shown: int = N_SHOWN) -> str:
    """The first faults, a line each, and how many more there are."""
    lines = [str(fault) for fault in faults[:n_shown]]
    if len(faults) > n_shown:
        lines.append(f"... and {len(faults) - n_shown} more")
    return "\n".join(lines)


def count_kinds(faults: Iterable[Fault]) -> dict[str, int]:
    """Example: {"illegal transition": 3, "missing tag": 1}, the most frequent first."""
    return dict(Counter(fault.kind for fault in faults).most_common())


def check_strict(faults: Sequence[Fault]) -> None:
    """Raise UserError when there is any fault."""
    if faults:
        raise UserError(
            f"Files without a fault were expected, as `strict` was asked for, but "
            f"there are {len(faults)}. Correct them, or leave `strict` away:\n"
            f"{listing(faults)}"
        )


def is_near(first: str, second: str) -> bool:
    """Whether one name may be a slip of the hand for another.

    They differ in case or punctuation alone, by two letters that changed places, or,
    from four letters up, by one letter.
    Example: PRE, PER; phone, PHONE; ADRESS, ADDRESS -> True; ORG, LOC; ZIP1, ZIP2
        -> False
    """
    a, b = ("".join(filter(str.isalnum, name.casefold())) for name in (first, second))
    if a == b:
        return True
    if len(a) == len(b):
        unequal = [i for i in range(len(a)) if a[i] != b[i]]
        if not all(a[i].isalpha() and b[i].isalpha() for i in unequal):
            return False
        if len(unequal) == 2 and unequal[1] == unequal[0] + 1:
            i, j = unequal
            return (a[i], a[j]) == (b[j], b[i])
        return len(unequal) == 1 and len(a) >= 4
    short, long = sorted((a, b), key=len)
    if len(long) - len(short) != 1 or len(long) < 4:
        return False
    dropped = (long[:i] + long[i + 1 :] for i in range(len(long)) if long[i].isalpha())
    return short in dropped


def rare_types(n_ents: Counter[str], places: dict[str, str]) -> list[Fault]:
    """The types with one entity in all beside one that is spelt nearly the same.

    places: where the first entity of each type is, "file:line".
    """
    return [
        Fault("rare type", places[kind], f"'{kind}' is there once, beside '{other}'")
        for kind, n in n_ents.items()
        for other, n_other in n_ents.items()
        if n == 1 < n_other and is_near(kind, other)
    ]
