"""Sentences of CoNLL files as the texts that every contender is given."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..conll import Sentence, read_conll
from ..errors import UserError
from ..files import find_files
from ..formats import CharSpan
from ..labels import OUTSIDE, spans_from_tags
from ..schemes import MISSING
from ..tokenizer import BLOCKS
from .figures import Spans, trimmed


@dataclass(frozen=True)
class Sample:
    """words, spans: in characters of the text; each span with its type."""

    text: str
    words: list[CharSpan]
    spans: Spans
    tokens: list[str]
    tags: list[str]


def read_samples(paths: Iterable[Path], n_words: int | None = None) -> list[Sample]:
    """The sentences of all files in an order by chance, always the same.

    n_words: no more sentences than it takes for so many tokens; None is all.
    """
    sentences = [s for path in find_files(paths) for s in read_conll(path)]
    random.Random(0).shuffle(sentences)
    taken, n_taken = [], 0
    for sentence in sentences:
        if n_words is not None and n_taken >= n_words:
            break
        taken.append(make_sample(sentence))
        n_taken += len(sentence.tokens)
    return taken


def make_sample(sentence: Sentence) -> Sample:
    """Example: Ann/B-PER, 在/O, 北/B-LOC, 京/I-LOC -> "Ann在北京", LOC from 4 to 6"""
    tokens = sentence.tokens
    tags = [OUTSIDE if tag == MISSING else tag for tag in sentence.tags]
    text, words = "", []
    for token in tokens:
        text += " " if text and not touch(text, token) else ""
        words.append((len(text), len(text) + len(token)))
        text += token
    spans = [
        (words[first][0], words[end - 1][1], kind)
        for first, end, kind in spans_from_tags(tags)
    ]
    return Sample(text, words, trimmed(text, spans), tokens, tags)


def touch(before: str, after: str) -> bool:
    """Whether either has, where they meet, a script that is written without spaces."""
    edges = ord(before[-1]), ord(after[0])
    return any(first <= edge <= last for first, last in BLOCKS for edge in edges)


def n_words_of(samples: Sequence[Sample]) -> int:
    return sum(len(sample.tokens) for sample in samples)


def find_short(samples: Sequence[Sample], n_most: int, n_words: int) -> list[int]:
    """The places of the first n_most texts of 5 words to n_words."""
    places = [i for i, one in enumerate(samples) if 5 <= len(one.tokens) <= n_words]
    if not places:
        raise UserError(
            f"Sentences of 5 to {n_words} words were expected in the files, to read "
            "them one at a time, but there are none. Give more files, or --words."
        )
    return places[:n_most]
