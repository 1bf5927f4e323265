"""Rows of logits to a path of tags, and the confidence of the spans on it."""

from collections.abc import Callable, Sequence

import numpy as np
from thinc.types import Floats2d, Ints1d

from .labels import TypedSpan, spans_from_tags

Decoder = Callable[[Floats2d, np.ndarray], Ints1d]
# first token, token behind the last, type, confidence
ScoredSpan = tuple[int, int, str, float]


def softmax(logits: Floats2d) -> Floats2d:
    """Row by row, in a way that cannot overflow. (T, L) -> (T, L)"""
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def decode_greedy(logits: Floats2d, legal: np.ndarray) -> Ints1d:
    """The best tag of each token by itself, as the checkpoint's own pipeline has it.

    logits: (T, L). legal: (L + 1, L), not looked at.
    """
    return logits.argmax(axis=1)


def decode_viterbi(logits: Floats2d, legal: np.ndarray) -> Ints1d:
    """The legal path with the greatest sum of logits (Viterbi 1967).

    The softmax's denominator is the same for every path, so logits will do.
    logits: (T, L). legal: (L + 1, L) bool, [previous, next], last row: the start.
    """
    n_tokens, n_tags = logits.shape
    greedy = logits.argmax(axis=1)
    before = np.concatenate([[n_tags], greedy])[:-1]
    if legal[before, greedy].all():  # then no path is better
        return greedy
    barrier = np.where(legal, 0.0, -np.inf)
    best = logits[0] + barrier[-1]
    came_from = np.zeros((n_tokens, n_tags), dtype=np.int64)
    for token_i in range(1, n_tokens):
        arriving = best[:, None] + barrier[:-1]  # (previous, next)
        came_from[token_i] = arriving.argmax(axis=0)
        best = arriving.max(axis=0) + logits[token_i]
    path = np.zeros(n_tokens, dtype=np.int64)
    path[-1] = best.argmax()
    for token_i in range(n_tokens - 1, 0, -1):
        path[token_i - 1] = came_from[token_i, path[token_i]]
    return path


def span_confidences(
    logits: Floats2d, path: Ints1d, spans: Sequence[TypedSpan]
) -> list[float]:
    """The mean over a span's tokens of the probability of the tag on the path."""
    chosen = softmax(logits)[np.arange(len(path)), path]  # (T,)
    return [float(chosen[start:end].mean()) for start, end, _ in spans]


def find_entities(
    logits: Floats2d, tags: Sequence[str], legal: np.ndarray, decoder: Decoder
) -> list[ScoredSpan]:
    """One may go on over tokens that have no pieces, whose rows are not finite.

    logits: (T, L). tags: the columns. legal: (L + 1, L), see `decode_viterbi`.
    """
    seen = np.flatnonzero(np.isfinite(logits).all(axis=1))
    path = decoder(logits[seen], legal)
    spans = spans_from_tags([tags[i] for i in path])
    confidences = span_confidences(logits[seen], path, spans)
    return [
        (int(seen[start]), int(seen[end - 1]) + 1, kind, confidence)
        for (start, end, kind), confidence in zip(spans, confidences, strict=True)
    ]


def configure_greedy_decoder() -> Decoder:
    """`retainer.GreedyDecoder.v1`"""
    return decode_greedy


def configure_viterbi_decoder() -> Decoder:
    """`retainer.ViterbiDecoder.v1`"""
    return decode_viterbi
