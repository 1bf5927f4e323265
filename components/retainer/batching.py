"""Batches of examples that are about as long as one another: little padding."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from spacy.tokens import Doc
from spacy.training import Example

from .errors import UserError

T = TypeVar("T")


def batch_by_length(
    items: Iterable[T], size: int, pool: int, length_of: Callable[[T], int]
) -> Iterator[list[T]]:
    """Items are cut into pools in the order that they come in, each pool is sorted by
    length and cut into batches, and these are shuffled by Python's `random`.

    pool: batches that are sorted together. With 1 nothing is; the more, the less
        padding, and the less a batch is a random sample.
    RETURNS: batches of `size` items. One batch of a pool at most is smaller, and only
        of the last.
    """
    items = iter(items)
    while taken := sorted(islice(items, pool * size), key=length_of):
        batches = [taken[start : start + size] for start in range(0, len(taken), size)]
        random.shuffle(batches)
        yield from batches


def n_bytes(example: Example | Doc) -> int:
    """Of the text in UTF-8: nearer to a subword tokenizer's pieces, from script to
    script, than characters or words are."""
    doc = example.predicted if isinstance(example, Example) else example
    return len(doc.text.encode())


def configure_batcher(
    size: int, pool: int
) -> Callable[[Iterable[Example]], Iterator[Sequence[Example]]]:
    """`retainer.batch_by_length.v1`

    size: examples a step. pool: see `batch_by_length`.
    """
    if size < 1 or pool < 1:
        raise UserError(
            "retainer.batch_by_length.v1 expects `size` and `pool` of 1 or more, but "
            f"has size = {size}, pool = {pool}. Usual are 16 and 16."
        )
    return partial(batch_by_length, size=size, pool=pool, length_of=n_bytes)
