"""What the reference says of each predicted token, and whether it can be learnt."""

from collections.abc import Iterable

import numpy as np
from spacy.training import Example
from spacy.util import logger
from thinc.types import Ints1d

from .docbin import ent_places
from .errors import UserError
from .labels import OUTSIDE, spans_from_tags, tags_from_spans
from .losses import NO_GOLD


def gold_ids(eg: Example, columns: dict[str, int]) -> Ints1d:
    """The tag id of each predicted token, NO_GOLD where the reference says nothing.

    A gold entity whose bounds fall inside a predicted token says nothing about it.
    """
    biluo = eg.get_aligned_ner()  # spaCy's BILUO, whatever the model's scheme
    spans = spans_from_tags([tag or OUTSIDE for tag in biluo])
    path = tags_from_spans(len(biluo), spans, list(columns))
    unknown = sorted({name for name in path if name not in columns})
    if unknown:
        raise UserError(
            f"One of the tags {', '.join(columns)} was expected, but the example "
            f"'{eg.text[:40]}' has {', '.join(unknown)}. Call add_label first."
        )
    return np.array(
        [
            NO_GOLD if tag is None else columns[name]
            for tag, name in zip(biluo, path, strict=True)
        ],
        dtype=np.int64,
    )


def check_examples(examples: Iterable[Example], known: set[str] | None) -> set[str]:
    """The entity types of the examples, all of them known unless that is None.

    Entities that no run of predicted tokens spells are counted and warned of.
    """
    seen: set[str] = set()
    n_ents = n_lost = 0
    for eg in examples:
        ents = eg.reference.ents
        for ent_i, ent in enumerate(ents):
            if known is not None and ent.label_ not in known:
                place = ent_places(eg.reference)[ent_i]
                raise UserError(
                    f"A type that is among {sorted(known)} was expected, "
                    f"but '{ent.label_}' came{place and f' at {place}'} "
                    f"('{ent.text}'). Correct the tag, or add the type to the labels."
                )
            seen.add(ent.label_)
        n_ents += len(ents)
        n_lost += len(ents) - len(eg.get_aligned_spans_y2x(ents))
    if n_lost:
        logger.warning(
            "%d of %d entities do not start and end where tokens do: they are left "
            "out of the loss, and count as missed in the scores.",
            n_lost,
            n_ents,
        )
    return seen
