"""Intervals of F1 over other sentences and other seeds (Efron and Tibshirani 1993).

Arrays: B resamples, S seeds (trainings of one arm), N sentences of a file; the last
axis is right, wrongly found and missed entities. The resamples are always the same
ones, so that two arms, and teacher and student, are compared on the same sentences.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 1000
LEVEL = 95  # per cent
Interval = tuple[float, float] | None
Array = NDArray[np.floating | np.integer]


def learnt_interval(files: Sequence[Array]) -> Interval:
    """Of F1 over all files together, mean over seeds. files: (S, N, 3) each."""
    if not files:
        return None
    drawn = sum(_resample(counts, i) for i, counts in enumerate(files))
    return _interval(f1(drawn))


def lost_interval(before: Sequence[Array], after: Sequence[Array]) -> Interval:
    """Of the F1 lost in a file, mean over files and seeds.

    before, after: (S, N, 3) each, the same sentences by the teacher and the student.
    """
    pairs = enumerate(zip(before, after, strict=True))
    lost = [f1(_resample(b, i)) - f1(_resample(a, i)) for i, (b, a) in pairs]
    return _interval(_mean(np.stack(lost), axis=0)) if lost else None


def f1(counts: Array) -> Array:
    """(..., 3) to (...), in points. Without an entity on either side it is NaN."""
    counts = np.asarray(counts, dtype=float)
    right = 2 * counts[..., 0]
    both = right + counts[..., 1] + counts[..., 2]
    return 100 * np.divide(right, both, out=np.full_like(both, np.nan), where=both > 0)


def _resample(counts: Array, file_i: int) -> Array:
    """(S, N, 3) to (B, S, 3): sums over sentences that are drawn with replacement."""
    return np.tensordot(_draws(counts.shape[1], file_i), counts, axes=(1, 1))


@lru_cache(maxsize=256)
def _draws(n_sentences: int, file_i: int) -> Array:
    """(B, N): how often each sentence is drawn. Each file has draws of its own."""
    rng = np.random.default_rng([file_i, n_sentences])
    shares = np.full(n_sentences, 1 / n_sentences)
    return rng.multinomial(n_sentences, shares, size=N_RESAMPLES).astype(float)


def _interval(values: Array) -> Interval:
    """values: (B, S), of which seeds are drawn with replacement."""
    n_seeds = values.shape[1]
    rng = np.random.default_rng(n_seeds)
    seeds = rng.integers(n_seeds, size=(N_RESAMPLES, n_seeds))
    means = _mean(np.take_along_axis(values, seeds, axis=1), axis=1)
    means = means[~np.isnan(means)]
    if not len(means):
        return None
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def _mean(values: Array, axis: int) -> Array:
    """Of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    n = known.sum(axis)
    total = np.where(known, values, 0).sum(axis)
    return np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
