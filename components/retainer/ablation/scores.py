"""What a run learnt and forgot, with counts by sentence for the bootstrap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from thinc.types import Ints2d

from ..pipelines import predict
from ..report import Counts, compare, count, learnt, merge
from ..scoring import pool

Figures = dict[str, Any]


@dataclass
class Scores:
    """Of one pipeline, by file of the old domain and by test: counts a sentence."""

    old: dict[str, list[Counts]]
    test: dict[str, list[Counts]]


def count_each(nlp: Language, references: Sequence[Doc]) -> list[Counts]:
    """Of each sentence, read as raw text."""
    docs = predict(nlp, references, lambda docs, total: docs)
    return [count([doc], [ref]) for doc, ref in zip(docs, references, strict=True)]


def totals(counts: Iterable[Counts], types: Sequence[str]) -> Ints2d:
    """(n_sentences, 3): right, wrongly found and missed entities of the types."""
    pooled = [pool(one, types) for one in counts]
    return np.array([(x.tp, x.fp, x.fn) for x in pooled], dtype="i4").reshape(-1, 3)


def arrays(
    before: Scores, after: Scores, old_types: Sequence[str], new_types: Sequence[str]
) -> dict[str, Ints2d]:
    """What `counts.npz` holds: by group and file, as "old_before:de", see `totals`."""
    groups = {
        "old_before": (before.old, old_types),
        "old_after": (after.old, old_types),
        "old_in_new_before": (before.test, old_types),
        "old_in_new_after": (after.test, old_types),
        "new": (after.test, new_types),
    }
    return {
        f"{group}:{name}": totals(counts, types)
        for group, (files, types) in groups.items()
        for name, counts in files.items()
    }


def figures(
    before: Scores,
    after: Scores,
    old_types: Sequence[str],
    new_types: Sequence[str],
    min_entities: int,
) -> Figures:
    """F1 in points, as in `retainer.report`: of new types, and of old in both domains.

    min_entities: see `worst_of`.
    """
    tests = {name: merge(counts) for name, counts in after.test.items()}
    in_new = compare(
        merge(one for counts in before.test.values() for one in counts),
        merge(tests.values()),
        old_types,
    )
    by_file = {}
    for name, counts in after.old.items():
        row = compare(merge(before.old[name]), merge(counts), old_types)
        by_file[name] = {key: x for key, x in row.items() if key != "by_type"}
    return {
        "new": learnt(merge(tests.values()), new_types)
        | {"by_test": {name: learnt(x, new_types) for name, x in tests.items()}},
        "old_in_new": {key: in_new[key] for key in ("before", "after", "lost")},
        "old": {
            "mean_before": mean_of(by_file, "before"),
            "mean_after": mean_of(by_file, "after"),
            "lost_mean": mean_of(by_file, "lost"),
            **worst_of(by_file, min_entities),
            "by_file": by_file,
        },
    }


def mean_of(by_file: dict[str, Figures], key: str) -> float | None:
    """Each file counts once, if both pipelines have an F1 there."""
    known = [row[key] for row in by_file.values() if row["lost"] is not None]
    return round(sum(known) / len(known), 2) if known else None


def worst_of(by_file: dict[str, Figures], min_entities: int) -> Figures:
    """The file that lost most, of those with so many gold entities."""
    lost = {
        name: row["lost"]
        for name, row in by_file.items()
        if row["lost"] is not None and row["entities"] >= min_entities
    }
    name = max(lost, key=lambda name: lost[name], default=None)
    return {"lost_worst": lost.get(name), "worst_file": name}
