"""Does a corpus annotate the types that the teacher knows? The teacher is asked.

Of what it finds with a confidence of SURE and over, some lies where the corpus
annotates nothing. Were all entities of a type annotated, this would be little beside
the annotated ones; it is all there is where none are. So

    share annotated = gold / (gold + open)

gold: entities that the corpus annotates with the type. open: sure finds of the type
that touch no annotated entity, of whatever type. Verdicts, per type:

    absent             gold + open under MIN_ENTITIES, or under MIN_RATE per text asked
    annotated          share of ANNOTATED and over
    not annotated      share under NOT_ANNOTATED
    partly annotated   between these

The overall verdict is that of all types that are not absent, where they agree, else
"partly annotated".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from thinc.types import Floats2d, Ints1d

from .decoding import decode_greedy, span_confidences
from .labels import OUTSIDE, entity_types, spans_from_tags

SURE = 0.8
ANNOTATED = 0.8
NOT_ANNOTATED = 0.2
MIN_ENTITIES = 5
MIN_RATE = 0.01


def verdict_of(gold: int, n_open: int, n_texts: int) -> str:
    if gold + n_open < max(MIN_ENTITIES, MIN_RATE * n_texts):
        return "absent"
    annotated = gold / (gold + n_open)
    if annotated >= ANNOTATED:
        return "annotated"
    return "not annotated" if annotated < NOT_ANNOTATED else "partly annotated"


def overall(verdicts: Iterable[str]) -> str:
    known = set(verdicts) - {"absent"}
    if not known:
        return "absent"
    return known.pop() if len(known) == 1 else "partly annotated"


@dataclass(frozen=True)
class OpenSpan:
    """What the teacher finds where the corpus has nothing but O.

    tokens: (n,) their places. tags: the teacher's. confidence: see `span_confidences`.
    """

    tokens: Ints1d
    tags: list[str]
    type: str
    confidence: float


def open_spans(
    names: Sequence[str | None], teacher_tags: Sequence[str], rows: Floats2d
) -> list[OpenSpan]:
    """names: the gold tag of each token, None where it has none. rows: (T, K), the
    teacher's; tokens of which either knows nothing are passed by."""
    is_known = [name is not None for name in names]
    seen = np.flatnonzero(np.array(is_known, bool) & np.isfinite(rows).all(axis=1))
    path = decode_greedy(rows[seen], np.empty(0))
    tags = [teacher_tags[i] for i in path]
    spans = spans_from_tags(tags)
    sure = span_confidences(rows[seen], path, spans)
    return [
        OpenSpan(seen[start:end], tags[start:end], kind, confidence)
        for (start, end, kind), confidence in zip(spans, sure, strict=True)
        if all(names[i] == OUTSIDE for i in seen[start:end])
    ]


@dataclass
class Regime:
    """Counts of a corpus by type of the teacher's. verdicts: as the module says.

    confidences: of all open finds, by type.
    """

    types: list[str]
    gold: Counter[str] = field(default_factory=Counter)
    confidences: dict[str, list[float]] = field(default_factory=dict)
    n_texts: int = 0

    def add(
        self,
        names: Sequence[str | None],
        teacher_tags: Sequence[str],
        rows: Floats2d,
    ) -> None:
        """One text; see `open_spans`."""
        self.n_texts += 1
        known = [name for name in names if name is not None]
        self.gold.update(kind for *_, kind in spans_from_tags(known))
        for span in open_spans(names, teacher_tags, rows):
            self.confidences.setdefault(span.type, []).append(span.confidence)

    @property
    def open(self) -> dict[str, int]:
        """The sure ones, by type."""
        return {
            kind: sum(x >= SURE for x in self.confidences.get(kind, ()))
            for kind in self.types
        }

    @property
    def thresholds(self) -> dict[str, float]:
        """The confidence of a type's median open find: half of them are surer."""
        return {kind: float(np.median(x)) for kind, x in self.confidences.items()}

    @property
    def verdicts(self) -> dict[str, str]:
        return {
            kind: verdict_of(self.gold[kind], n_open, self.n_texts)
            for kind, n_open in self.open.items()
        }

    @property
    def annotated(self) -> set[str]:
        """The types whose every entity the corpus annotates, as far as one can tell."""
        return {k for k, verdict in self.verdicts.items() if verdict == "annotated"}

    def describe(self) -> str:
        """Example: PER annotated (80 entities, 2 open), LOC absent (0, 1)"""
        parts = [
            f"{kind} {verdict} ({self.gold[kind]} annotated, {self.open[kind]} open)"
            for kind, verdict in self.verdicts.items()
        ]
        return ", ".join(parts)

    @classmethod
    def of(cls, teacher_tags: Sequence[str]) -> "Regime":
        return cls(entity_types(teacher_tags))
