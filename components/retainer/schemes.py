"""The tag scheme of a file: which it is, and what in it breaks its rules.

BIO (IOB2); IOB1, where B- stands only between two entities of one type; BIOES, BILOU
and BMES, which mark ends and single tokens too; plain, types without a prefix.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from .faults import TOLERATED, FileLog
from .labels import OUTSIDE, split_tag

SCHEMES = ("BIO", "IOB1", "BIOES", "BILOU", "BMES", "plain")
WHOLE = ("BIOES", "BILOU", "BMES")  # where an entity has an end to be seen
MISSING = "-"  # the tag of a token about which nothing is known
PREFIXED = re.compile(r"[BIESLUMW]-[^\s-](?:.*\S)?")
# A bare type: but not a lone prefix, nor the o or b-PER of a slip of the hand.
PLAIN = re.compile(r"(?!(?:[BIESLU]|o)$)(?![^\W\d_]-)[^\W\d_](?:[\w.-]*\w)?")
SAME_PREFIX = {"M": "I", "W": "S"}  # of BMES, which labels.py does not have

Paths = Callable[[], Iterable[Sequence[str]]]


def find_scheme(tags: Mapping[str, int], paths: Paths) -> str:
    """tags: how often there is each. paths: gives the tags of each sentence, anew.

    Prefixes that hardly occur are slips of the hand, and make no scheme.
    """
    prefixes: Counter[str] = Counter()
    for tag, n in tags.items():
        if PREFIXED.fullmatch(tag):
            prefixes[tag[0]] += n
    n_own = sum(n for prefix, n in prefixes.items() if prefix not in "BI")
    if n_own > TOLERATED * prefixes.total():
        own = {"M": "BMES", "W": "BMES", "L": "BILOU", "U": "BILOU"}
        return next((own[prefix] for prefix in own if prefixes[prefix]), "BIOES")
    if not prefixes:
        return "plain"
    return "IOB1" if is_iob1(paths()) else "BIO"


def is_iob1(paths: Iterable[Sequence[str]]) -> bool:
    """Whether entities begin with I-, and with B- only behind one of their own type."""
    has_inside = False
    for path in paths:
        for previous, tag in pairwise([OUTSIDE, *path]):
            if tag.startswith("B-") and previous[2:] != tag[2:]:
                return False
            has_inside |= tag.startswith("I-")
    return has_inside


class TagReader:
    """Writes the tags of sentences as labels.py reads them; reports broken rules."""

    def __init__(self, scheme: str, log: FileLog):
        self.scheme, self.log = scheme, log
        self._transitions: dict[tuple[str, str], str] = {}

    def read(self, path: Sequence[str], lines: Sequence[int]) -> list[str]:
        """path: the tags of a sentence. lines: where they stand."""
        read = [
            tag if tag == OUTSIDE else self._normalise(tag, line_i)
            for tag, line_i in zip(path, lines, strict=True)
        ]
        if self.scheme in ("IOB1", "plain"):
            return read
        for token_i, pair in enumerate(pairwise([OUTSIDE, *read, OUTSIDE])):
            if pair not in self._transitions:
                self._transitions[pair] = self._fault_between(*pair)
            if kind := self._transitions[pair]:
                line_i = lines[token_i - (kind == "unfinished entity")]
                following = pair[1] if token_i < len(read) else "nothing"
                self.log.add(kind, line_i, f"{following} behind {pair[0]}")
        return read

    def _normalise(self, tag: str, line_i: int) -> str:
        if tag == MISSING:
            return tag
        if PREFIXED.fullmatch(tag):
            return SAME_PREFIX.get(tag[0], tag[0]) + tag[1:]
        if self.scheme != "plain":
            self.log.add("tag without prefix", line_i, repr(tag))
        return f"I-{tag}"

    def _fault_between(self, previous: str, tag: str) -> str:
        (p_prefix, p_kind), (prefix, kind) = split_tag(previous), split_tag(tag)
        is_inside = prefix in ("I", "E", "L")
        is_open = p_prefix in ("B", "I")
        if MISSING in (previous, tag):
            return ""
        if is_inside and not (is_open and p_kind == kind):
            return "illegal transition"
        if is_open and not is_inside and self.scheme in WHOLE:
            return "unfinished entity"
        return ""
