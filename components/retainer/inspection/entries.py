"""What an inspection needs of a Doc, and of where it came from: plain Python."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from spacy.tokens import Doc

from ..docbin import ent_places

CONTEXT = 40  # characters shown on either side of an entity
NO_SCRIPT = "none"
# The first words of a letter's Unicode name, up to one of these, name its script.
SCRIPT = re.compile(r"(.+?) (?:CAPITAL|SMALL|LETTER|SYLLAB|CHARACTER|UNIFIED|IDEO)")
SCRIPT_NAMES = {"Cjk": "Han", "Hiragana": "Japanese", "Katakana": "Japanese"}


@dataclass(slots=True)
class Ent:
    """start, end: tokens, half-open. place: "file:line", where that is known."""

    start: int
    end: int
    label: str
    place: str


@dataclass(slots=True)
class Entry:
    """One Doc. starts: (n_tokens,) characters. missing: tokens nobody annotated."""

    file: str
    place: str
    text: str
    words: list[str]
    starts: list[int]
    ents: list[Ent]
    missing: set[int]

    def bounds(self, start: int, end: int) -> tuple[int, int]:
        """Tokens to characters."""
        return self.starts[start], self.starts[end - 1] + len(self.words[end - 1])


Splits = Mapping[str, Sequence[Entry]]  # train, dev and test, by these names


def entry_of(doc: Doc, file: str) -> Entry:
    source = doc.user_data.get("source", file)
    ents = [
        Ent(ent.start, ent.end, ent.label_, place or source)
        for ent, place in zip(doc.ents, ent_places(doc), strict=True)
    ]
    words = [token.text for token in doc]
    starts = [token.idx for token in doc]
    missing = {token.i for token in doc if token.ent_iob == 0}
    return Entry(file, source, doc.text, words, starts, ents, missing)


def snippet(entry: Entry, start: int, end: int, place: str) -> dict[str, str]:
    """Characters start to end and their surroundings, in one line."""
    left, right = entry.text[:start], entry.text[end:]
    parts = {
        "before": ("…" if len(left) > CONTEXT else "") + left[-CONTEXT:],
        "entity": entry.text[start:end],
        "after": right[:CONTEXT] + ("…" if len(right) > CONTEXT else ""),
    }
    return {key: printable(part) for key, part in parts.items()} | {"place": place}


def printable(text: str) -> str:
    """White space as blanks, and a sign for what no terminal or page can show."""
    blank = re.sub(r"\s", " ", text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in blank)


@lru_cache(maxsize=100_000)
def _script_of_char(char: str) -> str | None:
    char = unicodedata.normalize("NFKC", char)[0]
    if unicodedata.category(char) not in ("Lu", "Ll", "Lt", "Lo"):
        return None
    name = unicodedata.name(char, "")
    match = SCRIPT.match(name)
    script = (match[1] if match else name.partition(" ")[0]).capitalize()
    return SCRIPT_NAMES.get(script, script) or None


def script_of(text: str) -> str:
    """The writing system of most letters; Han beside kana is Japanese.

    Example: "Ann 北" -> Latin; "東京へ" -> Japanese; "東京" -> Han; "12" -> none
    """
    counts: Counter[str] = Counter()
    for char, n in Counter(text).items():
        script = _script_of_char(char)
        if script is not None:
            counts[script] += n
    if counts["Japanese"]:
        counts["Japanese"] += counts.pop("Han", 0)
    scripts = [script for script, n in counts.items() if n]
    return max(scripts, key=lambda s: (counts[s], s), default=NO_SCRIPT)


def share(part: int, whole: int) -> float | None:
    """0 to 1; None of nothing."""
    return round(part / whole, 4) if whole else None


def top(counts: Mapping, n: int) -> list[tuple]:
    """The n greatest of a mapping to numbers, ties by name.

    Example: {"b": 1, "c": 2, "a": 1}, n=2 -> [("c", 2), ("a", 1)]
    """
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:n]
