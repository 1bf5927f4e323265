"""Predicted entities against the reference: spaCy's scores and seqeval's in one."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from spacy.scorer import PRFScore, get_ner_prf
from spacy.tokens import Doc
from spacy.training import Example

from .labels import OUTSIDE, spans_from_tags, tags_from_spans

Paths = Sequence[Sequence[str]]
Scorer = Callable[..., dict[str, Any]]


def token_bounds(doc: Doc) -> list[int]:
    """How many characters other than white space stand before each token, and in all.

    Tokens of texts that differ in white space alone can be compared by these.
    Example: "New  York" of ["New", " ", "York"] -> [0, 3, 3, 7]
    """
    lengths = (len("".join(token.text.split())) for token in doc)
    return [0, *accumulate(lengths)]


def tag_sequence(doc: Doc, units: Sequence[int], unknown: set[int]) -> list[str]:
    """A doc's entities as BIO tags of units of text, which start at `units`.

    unknown: units without gold annotation; what touches them is left out, and they
        have no tag.
    Example: an entity "New York" in "New York is", [0, 3, 7], () -> B-LOC, I-LOC, O
    """
    bounds = token_bounds(doc)
    spans = []
    for ent in doc.ents:
        start = bisect_left(units, bounds[ent.start])
        end = bisect_left(units, bounds[ent.end])
        if start < end and unknown.isdisjoint(range(start, end)):
            spans.append((start, end, ent.label_))
    tags = tags_from_spans(len(units), spans, [])
    return [tag for unit_i, tag in enumerate(tags) if unit_i not in unknown]


def tag_paths(examples: Iterable[Example]) -> tuple[Paths, Paths]:
    """Gold and predicted tags of units: both tokenisations, cut at each other's bounds.

    As in spaCy's scores, what lies in text without gold annotation does not count.
    """
    gold, predicted = [], []
    for eg in examples:
        bounds = {doc: token_bounds(doc) for doc in (eg.reference, eg.predicted)}
        units = sorted({start for starts in bounds.values() for start in starts[:-1]})
        units = [unit for unit in units if unit < bounds[eg.reference][-1]]
        unknown = set()
        for token in eg.reference:
            if token.ent_iob == 0:
                start, end = bounds[eg.reference][token.i : token.i + 2]
                unknown |= {*range(bisect_left(units, start), bisect_left(units, end))}
        gold.append(tag_sequence(eg.reference, units, unknown))
        predicted.append(tag_sequence(eg.predicted, units, unknown))
    return gold, predicted


def _plain(value: Any) -> Any:
    """NumPy's numbers cannot be written as JSON."""
    return value.item() if isinstance(value, np.generic) else value


def seqeval_scores(gold: Paths, predicted: Paths) -> dict[str, Any]:
    """seqeval (Nakayama 2018) in its default mode: micro average over entities.

    RETURNS: seqeval_p, _r, _f, _accuracy (over tokens) and _per_type; None where there
    is no entity to count.
    """
    from seqeval.metrics import accuracy_score, classification_report

    report = {}
    if any(tag != OUTSIDE for path in [*gold, *predicted] for tag in path):
        report = classification_report(
            gold, predicted, output_dict=True, zero_division=0
        )
    micro = report.pop("micro avg", {})
    per_type = {kind: row for kind, row in report.items() if not kind.endswith(" avg")}
    names = {"p": "precision", "r": "recall", "f": "f1-score", "support": "support"}
    return {
        **{f"seqeval_{key}": _plain(micro.get(names[key])) for key in "prf"},
        "seqeval_accuracy": (
            _plain(accuracy_score(gold, predicted)) if any(gold) else None
        ),
        "seqeval_per_type": {
            kind: {key: _plain(row[name]) for key, name in names.items()}
            for kind, row in per_type.items()
        },
    }


def count_by_type(gold: Paths, predicted: Paths) -> dict[str, PRFScore]:
    """True and false positives and false negatives: an entity is right whole or not."""
    counts: dict[str, PRFScore] = {}
    for gold_path, predicted_path in zip(gold, predicted, strict=True):
        wanted, got = (
            set(spans_from_tags(gold_path)),
            set(spans_from_tags(predicted_path)),
        )
        for kind in {span[2] for span in wanted | got}:
            counts.setdefault(kind, PRFScore()).score_set(
                {span for span in got if span[2] == kind},
                {span for span in wanted if span[2] == kind},
            )
    return counts


def pool(counts: dict[str, PRFScore], types: Iterable[str]) -> PRFScore:
    """The micro average over some types, all their entities counted as one."""
    return sum((counts[kind] for kind in types if kind in counts), PRFScore())


def group_scores(
    counts: dict[str, PRFScore], old_types: Collection[str]
) -> dict[str, float | None]:
    """Precision, recall and F1 over the checkpoint's types and over all others.

    None where neither side has an entity.
    """
    scores: dict[str, float | None] = {}
    for group, types in (("old", old_types), ("new", set(counts) - set(old_types))):
        prf = pool(counts, types)
        for key, value in (("p", "precision"), ("r", "recall"), ("f", "fscore")):
            scores[f"ents_{group}_{key}"] = getattr(prf, value) if len(prf) else None
    return scores


def score_ner(
    examples: Iterable[Example], *, old_types: Collection[str] = (), **kwargs
) -> dict[str, Any]:
    """spaCy's ents_p, _r, _f and _per_type, seqeval's scores, old and new types.

    seqeval sees the tags of `tag_paths`.
    """
    examples = list(examples)
    gold, predicted = tag_paths(examples)
    return {
        **get_ner_prf(examples),
        **group_scores(count_by_type(gold, predicted), old_types),
        **seqeval_scores(gold, predicted),
    }


def configure_ner_scorer() -> Scorer:
    """`retainer.ner_scorer.v1`"""
    return score_ner
