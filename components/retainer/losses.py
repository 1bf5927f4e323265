"""What training minimises. Plain arrays in, mean nats and their gradient out.

Rows are labelled tokens: the caller leaves out all others, so every mean here is over
labelled tokens, never over padding, special pieces or continuation pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from thinc.types import Floats2d, Ints1d

from .decoding import softmax
from .errors import UserError

NO_GOLD = -1  # the gold id of a token that no loss looks at


def log_softmax(logits: Floats2d) -> Floats2d:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: Floats2d, gold: Ints1d) -> tuple[float, Floats2d]:
    """Mean of -log softmax(logits)[gold].

    logits: (T, L). gold: (T,) tag ids.
    RETURNS: mean nats per token, and its gradient by logits, (T, L).
    """
    n_tokens = max(len(gold), 1)
    rows = np.arange(len(gold))
    loss = -log_softmax(logits)[rows, gold].sum() / n_tokens
    d_logits = softmax(logits)
    d_logits[rows, gold] -= 1
    return float(loss), d_logits / n_tokens


def distil(
    logits: Floats2d, teacher: Floats2d, *, temperature: float
) -> tuple[float, Floats2d]:
    """KL from the softened teacher to the softened student (Hinton et al. 2015).

    logits: (T, K) student. teacher: (T, K), the same tags in the same order. A token
        that the teacher cannot see (-inf among its logits) adds nothing to the mean.
    RETURNS: mean nats per token, not yet times T^2, and its gradient by logits, (T, K).
    """
    n_tokens = max(len(logits), 1)
    is_seen = np.isfinite(teacher).all(axis=1, keepdims=True)
    teacher = np.where(is_seen, teacher, logits)
    log_p = log_softmax(logits / temperature)
    log_q = log_softmax(teacher / temperature)
    q = np.exp(log_q)
    loss = (q * (log_q - log_p)).sum() / n_tokens
    return float(loss), (np.exp(log_p) - q) / (temperature * n_tokens)


def interpolate(
    logits: Floats2d,
    gold: Ints1d,
    teacher: Floats2d,
    columns: Ints1d,
    *,
    alpha: float,
    temperature: float,
) -> tuple[float, Floats2d]:
    """alpha * CE + (1 - alpha) * T^2 * KL over the teacher's tags: the classic recipe.

    logits: (T, L). gold: (T,). teacher: (T, K). columns: (K,) the student's column of
    each of the teacher's tags.
    RETURNS: mean nats per token, and its gradient by logits, (T, L).
    """
    loss, d_logits = cross_entropy(logits, gold)
    kl, d_old = distil(logits[:, columns], teacher, temperature=temperature)
    weight = (1 - alpha) * temperature**2
    d_logits *= alpha
    d_logits[:, columns] += weight * d_old
    return alpha * loss + weight * kl, d_logits


@dataclass(frozen=True)
class Loss:
    """compute(logits, gold, teacher's logits or None, columns) -> loss, gradient."""

    compute: Callable[..., tuple[float, Floats2d]]
    needs_teacher: bool


def count_labelled(gold: Sequence[Ints1d]) -> int:
    """Over how many tokens a batch's mean goes; 1 rather than none."""
    return max(sum(int((ids != NO_GOLD).sum()) for ids in gold), 1)


def loss_of_docs(
    loss: Loss,
    rows: Sequence[Floats2d],
    gold: Sequence[Ints1d],
    teacher: Sequence[Floats2d] | None,
    columns: Ints1d | None,
    n_labelled: int,
) -> tuple[float, list[Floats2d]]:
    """The share of some docs in the mean over all n_labelled tokens of a batch.

    rows: (T, L) per doc. gold: (T,) per doc, NO_GOLD where a token has no label.
    teacher: (T, K) per doc.
    RETURNS: nats, and the gradient by the rows, per doc; 0 for unlabelled tokens.
    """
    if not rows:
        return 0.0, []
    ids = np.concatenate(gold)
    labelled = ids != NO_GOLD
    all_rows = np.concatenate(rows)
    value, d_labelled = loss.compute(
        all_rows[labelled],
        ids[labelled],
        None if teacher is None else np.concatenate(teacher)[labelled],
        columns,
    )
    share = labelled.sum() / n_labelled
    d_all = np.zeros_like(all_rows)
    d_all[labelled] = d_labelled * share
    ends = np.cumsum([len(doc_rows) for doc_rows in rows])
    return float(value * share), np.split(d_all, ends[:-1])


def configure_cross_entropy() -> Loss:
    """`retainer.CrossEntropy.v1`: plain fine-tuning."""
    return Loss(lambda logits, gold, *_: cross_entropy(logits, gold), False)


def configure_interpolated_distillation(alpha: float, temperature: float) -> Loss:
    """`retainer.InterpolatedDistillation.v1`: alpha 1 is plain fine-tuning."""
    if not (0 <= alpha <= 1 and temperature > 0):
        raise UserError(
            "InterpolatedDistillation expects alpha from 0 to 1 and a temperature "
            f"above 0, but has alpha = {alpha} and temperature = {temperature}. "
            "Usual are 0.5 and 2.0."
        )
    if alpha == 1:
        return configure_cross_entropy()

    def compute(logits, gold, teacher, columns):
        return interpolate(
            logits, gold, teacher, columns, alpha=alpha, temperature=temperature
        )

    return Loss(compute, True)
