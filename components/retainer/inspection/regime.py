"""Which regime a corpus is in: `regimes`, counted on raw text, with examples."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.language import Language
from spacy.util import minibatch

from ..regimes import SURE, overall, verdict_of
from .entries import Entry, share, snippet, top

BATCH = 64  # texts that the teacher is given at once
N_EXAMPLES = 5

Track = Callable[[Iterable, int], Iterable]
Find = tuple[int, int, str, float]  # characters, type, confidence


@dataclass
class Tally:
    """What became of one teacher type in some texts.

    found: all finds. The others count the sure ones alone: exact has the bounds and
    type of an annotated entity, overlapping the type alone, confused neither (by the
    annotated type), unknown lies in text without any annotation. recalled: annotated
    entities that a sure find of their type touches.
    """

    gold: int = 0
    recalled: int = 0
    found: int = 0
    sure: int = 0
    exact: int = 0
    overlapping: int = 0
    open: int = 0
    unknown: int = 0
    confused: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)


def evenly(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """Example: 5 of them, limit=2 -> the first and the third"""
    n = min(limit, len(entries))
    return [entries[i * len(entries) // n] for i in range(n)]


def ask(teacher: Language, entries: Sequence[Entry]) -> Iterator[list[Find]]:
    """What the teacher finds in each raw text."""
    component = teacher.get_pipe("transformer_ner")
    for batch in minibatch(entries, BATCH):
        docs = [teacher.make_doc(entry.text) for entry in batch]
        for doc, spans in zip(docs, component.predict(docs), strict=True):
            chars = [(doc[start:end], kind, sure) for start, end, kind, sure in spans]
            yield [(s.start_char, s.end_char, kind, sure) for s, kind, sure in chars]


def overlapping(
    spans: Sequence[tuple[int, int, str]], start: int, end: int
) -> list[tuple[int, int, str]]:
    """spans: disjoint and in order."""
    first = bisect_right(spans, start, key=lambda span: span[1])
    found = []
    for span in spans[first:]:
        if span[0] >= end:
            break
        found.append(span)
    return found


def count_finds(entry: Entry, finds: Iterable[Find], tallies: dict[str, Tally]):
    """Add a text's finds to the tallies of their types."""
    gold = [(*entry.bounds(ent.start, ent.end), ent.label) for ent in entry.ents]
    missing = [(*entry.bounds(i, i + 1), "") for i in sorted(entry.missing)]
    for _, _, label in gold:
        if label in tallies:
            tallies[label].gold += 1
    recalled = set()
    for start, end, kind, confidence in finds:
        tally = tallies[kind]
        tally.found += 1
        if confidence < SURE:
            continue
        tally.sure += 1
        touched = overlapping(gold, start, end)
        labels = [label for _, _, label in touched]
        recalled |= {span for span in touched if span[2] == kind}
        if (start, end, kind) in touched:
            tally.exact += 1
        elif kind in labels:
            tally.overlapping += 1
        elif labels:
            tally.confused[labels[0]] += 1
        elif overlapping(missing, start, end):
            tally.unknown += 1
        else:
            tally.open += 1
            tally.examples.append(snippet(entry, start, end, entry.place))
    for _, _, label in recalled:
        tallies[label].recalled += 1


def describe(tally: Tally, n_texts: int) -> dict[str, Any]:
    n_examples = min(N_EXAMPLES, len(tally.examples))
    step = len(tally.examples) / max(n_examples, 1)
    return {
        "verdict": verdict_of(tally.gold, tally.open, n_texts),
        "gold": tally.gold,
        "recalled": tally.recalled,
        "found": tally.found,
        "sure": tally.sure,
        "exact": tally.exact,
        "overlapping": tally.overlapping,
        "other_type": tally.confused.total(),
        "open": tally.open,
        "unknown": tally.unknown,
        "share_annotated": share(tally.gold, tally.gold + tally.open),
        "confusions": dict(top(tally.confused, len(tally.confused))),
        "examples": [tally.examples[int(i * step)] for i in range(n_examples)],
    }


def find_regime(
    teacher: Language, entries: Sequence[Entry], limit: int, track: Track
) -> dict[str, Any]:
    """The figures of `inspection` under "regime". entries: the training split."""
    types = teacher.get_pipe("transformer_ner").labels
    asked = [r for r in evenly(entries, limit) if len(r.text) <= teacher.max_length]
    tallies: dict[str, dict[str, Tally]] = {}
    for entry, finds in zip(asked, track(ask(teacher, asked), len(asked)), strict=True):
        of_file = tallies.setdefault(entry.file, {kind: Tally() for kind in types})
        count_finds(entry, finds, of_file)
    n_texts = Counter(entry.file for entry in asked)
    rows = {kind: _merge(of[kind] for of in tallies.values()) for kind in types}
    by_type = {kind: describe(tally, len(asked)) for kind, tally in rows.items()}
    keys = ("sure", "found", "recalled", "gold")
    sure, found, recalled, gold = (
        sum(row[key] for row in by_type.values()) for key in keys
    )
    return {
        "verdict": overall(row["verdict"] for row in by_type.values()),
        "texts": len(entries),
        "asked": len(asked),
        "share_sure": share(sure, found),
        "share_recalled": share(recalled, gold),
        "types": by_type,
        "files": {
            file: {
                kind: {
                    "gold": tally.gold,
                    "open": tally.open,
                    "verdict": verdict_of(tally.gold, tally.open, n_texts[file]),
                }
                for kind, tally in of_file.items()
            }
            for file, of_file in tallies.items()
        },
    }


def _merge(tallies: Iterable[Tally]) -> Tally:
    merged = Tally()
    for tally in tallies:
        for key in vars(merged):
            setattr(merged, key, getattr(merged, key) + getattr(tally, key))
    return merged
