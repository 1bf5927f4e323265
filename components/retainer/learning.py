"""One batch of a training: docs, gold and the teacher's word in, gradients out."""

from collections.abc import Sequence

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example
from thinc.types import Floats2d, Ints1d

from .gold import gold_ids
from .lessons import Lessons
from .losses import NO_GOLD, NO_PIECES, Loss, Sizes, TagMap, loss_of_docs
from .network import Network


def learn(
    model: Network,
    loss: Loss,
    lessons: Lessons | None,
    examples: Sequence[Example],
    docs: Sequence[Doc],
) -> float:
    """Forward and back, one group of docs at a time, without a step.

    docs: those of the examples, then others, of which no label is known.
    RETURNS: nats, as of `loss_of_docs`.
    """
    gold, groups = read_gold(model, lessons, examples, docs)
    sizes, value = Sizes.of(gold), 0.0
    for group in groups:
        some = [docs[i] for i in group]
        rows, backprop = model.begin_update(some)
        ids = [gold[i] for i in group]
        said = ask(model, lessons, some, ids)
        nats, d_rows = loss_of_docs(loss, rows, ids, *said, sizes)
        backprop(d_rows)
        value += nats
    return value


def read_gold(
    model: Network,
    lessons: Lessons | None,
    examples: Sequence[Example],
    docs: Sequence[Doc],
) -> tuple[list[Ints1d], list[Ints1d]]:
    """Tag ids per doc, and the groups of docs that are to be trained at once.

    docs: those of the examples, then others, of which no label is known.
    """
    groups, has_pieces = model.attrs["plan_batch"](model, docs)
    tags = model.attrs["get_tags"](model)
    columns = {tag: i for i, tag in enumerate(tags)}
    gold = [gold_ids(eg, columns) for eg in examples]
    if lessons is not None:
        pairs = zip(docs, gold, strict=False)
        gold = [lessons.relabel(*pair, tags) for pair in pairs]
    gold += [np.full(len(doc), NO_GOLD) for doc in docs[len(examples) :]]
    pairs = zip(gold, has_pieces, strict=True)
    return [np.where(has, ids, NO_PIECES) for ids, has in pairs], groups


def ask(
    model: Network, lessons: Lessons | None, docs: Sequence[Doc], gold: Sequence[Ints1d]
) -> tuple[list[Floats2d] | None, TagMap | None]:
    """The teacher's rows per doc, and where its tags are among the model's."""
    if lessons is None:
        return None, None
    tags = model.attrs["get_tags"](model)
    return lessons.said(docs, gold), lessons.tag_map(tags)
