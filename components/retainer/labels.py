"""Tags and what may follow what. A tag is `O`, or a prefix and an entity type.

Prefixes: B and I (BIO), E and S (BIOES) or L and U (BILOU). A tag without a prefix,
`PER`, reads as I-PER: some checkpoints know no other.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from .errors import UserError

OUTSIDE = "O"
OPENING = frozenset("BSU")
CLOSING = frozenset("ELSU")
PREFIXES = frozenset("BIESLU")

TypedSpan = tuple[int, int, str]  # first token, token behind the last, entity type


def split_tag(tag: str) -> tuple[str, str]:
    """Example: "B-PER" -> ("B", "PER"), "PER" -> ("I", "PER"), "O" -> ("O", "")."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, entity_type = tag.partition("-")
    if dash and prefix in PREFIXES and entity_type:
        return prefix, entity_type
    return "I", tag


def entity_types(tags: Iterable[str]) -> list[str]:
    """The entity types of some tags, in the order in which they first appear."""
    return list(dict.fromkeys(split_tag(tag)[1] for tag in tags if tag != OUTSIDE))


def check_unique(names: Sequence[str], source: str) -> None:
    """Raise UserError when a label stands in a list twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"Each label once was expected in {source}, but {', '.join(twice)} is "
            f"given more than once in {list(names)}. Remove the repetition."
        )


def check_tags(tags: Sequence[str], source: str) -> None:
    """Raise UserError unless the tags can label tokens: unique, and O among them."""
    check_unique(tags, source)
    if OUTSIDE not in tags:
        raise UserError(
            f"Tags such as O, B-PER and I-PER were expected in {source}, but there is "
            f"no '{OUTSIDE}' among {list(tags)}. Name the tags in `id2label` of the "
            "checkpoint's config.json."
        )


def extend_tags(tags: Sequence[str], types: Iterable[str]) -> list[str]:
    """The tags, then B- and I- of each type that they lack, sorted by type.

    Example: ["O", "B-PER", "I-PER"], {"PHONE", "PER"}
        -> ["O", "B-PER", "I-PER", "B-PHONE", "I-PHONE"]
    """
    new_types = sorted(set(types) - set(entity_types(tags)))
    return [*tags, *(f"{prefix}-{kind}" for kind in new_types for prefix in "BI")]


def tags_from_spans(
    n_tokens: int, spans: Iterable[TypedSpan], tags: Sequence[str]
) -> list[str]:
    """Write spans as tags, in the scheme that the list of tags has for each type.

    A type that the list lacks is written in BIO.
    spans: disjoint, half-open, in tokens.
    Example: 3, [(0, 2, "PER")], ["O", "B-PER", "I-PER"] -> ["B-PER", "I-PER", "O"]
    """
    known, path = set(tags), [OUTSIDE] * n_tokens
    for start, end, entity_type in spans:
        for token_i in range(start, end):
            is_first, is_last = token_i == start, token_i == end - 1
            wanted = "SUBI" if is_first and is_last else "BI" if is_first else "I"
            wanted = "EL" + wanted if is_last and not is_first else wanted
            names = [f"{prefix}-{entity_type}" for prefix in wanted] + [entity_type]
            unknown = f"{'B' if is_first else 'I'}-{entity_type}"
            path[token_i] = next((name for name in names if name in known), unknown)
    return path


def spans_from_tags(path: Sequence[str]) -> list[TypedSpan]:
    """Read tags as spans. A tag that continues nothing opens a span of its own.

    Example: ["I-PER", "I-PER", "B-PER", "O"] -> [(0, 2, "PER"), (2, 3, "PER")]
    """
    spans: list[TypedSpan] = []
    is_open = False
    for token_i, (prefix, entity_type) in enumerate(map(split_tag, path)):
        if prefix == OUTSIDE:
            is_open = False
            continue
        if is_open and prefix not in OPENING and spans[-1][2] == entity_type:
            spans[-1] = (spans[-1][0], token_i + 1, entity_type)
        else:
            spans.append((token_i, token_i + 1, entity_type))
        is_open = prefix not in CLOSING
    return spans


def legal_transitions(tags: Sequence[str]) -> np.ndarray:
    """Which tag may follow which.

    An inside tag needs an open entity of its type before it, unless its type has no
    opening tag at all (IOB1 and prefix-less checkpoints).
    RETURNS: (n + 1, n) bool, [previous, next]; the last row is the sentence's start.
    """
    parts = [split_tag(tag) for tag in tags]
    opened = {kind for prefix, kind in parts if prefix in OPENING}
    legal = np.ones((len(tags) + 1, len(tags)), dtype=bool)
    for following, (prefix, kind) in enumerate(parts):
        if prefix == OUTSIDE or prefix in OPENING or kind not in opened:
            continue
        legal[:, following] = [p not in CLOSING and k == kind for p, k in parts] + [
            False
        ]
    return legal
