"""What training minimises. Plain arrays in, mean nats and their gradient out.

Rows are tokens that have pieces: the caller leaves out all others, so every mean here
is over tokens, never over padding, special pieces or continuation pieces. Means over
labelled and over unlabelled tokens (of replayed text, say) are apart: neither feels how
many there are of the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from thinc.types import Floats2d, Ints1d

from .decoding import softmax
from .errors import UserError

NO_GOLD = -1  # the gold id of a token that nobody annotated
NO_PIECES = -2  # and of one that the model cannot see: no loss looks at it

Valued = tuple[float, Floats2d]  # a loss in nats, and its gradient by the logits


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
class TagMap:
    """Where the teacher's tags stand among the student's, by name.

    columns: (K,) the student's column of each of the teacher's tags. outside: the
    student's column of O, which is among them. n_tags: the student's. Behind its
    logits a row may have features, as many as the teacher's.
    """

    columns: Ints1d
    outside: int
    n_tags: int


Term = Callable[[Floats2d, Ints1d, Floats2d | None, TagMap | None], Valued]


@dataclass(frozen=True)
class Loss:
    """A sum of terms, each (logits, gold, teacher's logits, tag map) -> mean, gradient.

    labelled: mean over labelled tokens. unlabelled: over tokens without gold, which no
    loss looks at if None. features: (features, the teacher's) -> the same over these.
    per_doc: a sum over labelled tokens, divided by the docs.
    annotated: types about which the teacher is not asked on labelled tokens, as the
    corpus annotates them; "auto": those that seem so (see `regimes`); None: none.
    pseudo_labels: whether what the teacher is sure of becomes gold (see `lessons`).
    """

    labelled: Term
    needs_teacher: bool
    unlabelled: Term | None = None
    features: Callable[[Floats2d, Floats2d], Valued] | None = None
    per_doc: Term | None = None
    annotated: Literal["auto"] | Sequence[str] | None = None
    pseudo_labels: bool = False


@dataclass(frozen=True)
class Sizes:
    """What the means of a whole batch go over; 1 rather than none."""

    labelled: int
    unlabelled: int
    docs: int

    @classmethod
    def of(cls, gold: Sequence[Ints1d]) -> "Sizes":
        return cls(
            max(sum(int((ids >= 0).sum()) for ids in gold), 1),
            max(sum(int((ids == NO_GOLD).sum()) for ids in gold), 1),
            max(sum(bool((ids >= 0).any()) for ids in gold), 1),
        )


def loss_of_docs(
    loss: Loss,
    rows: Sequence[Floats2d],
    gold: Sequence[Ints1d],
    teacher: Sequence[Floats2d] | None,
    tag_map: TagMap | None,
    sizes: Sizes,
) -> tuple[float, list[Floats2d]]:
    """The share of some docs in the means of a batch.

    rows: (T, L) per doc, with features (T, L + D). gold: (T,) per doc, NO_GOLD where a
    token has no label and NO_PIECES where it has no row. teacher: (T, K) per doc, with
    features (T, K + D). sizes: of the whole batch.
    RETURNS: nats, and the gradient by the rows, per doc; 0 where no term looks.
    """
    if not rows:
        return 0.0, []
    ids, all_rows = np.concatenate(gold), np.concatenate(rows)
    n_tags, n_old = all_rows.shape[1], 0
    said = np.zeros((len(ids), 0)) if teacher is None else np.concatenate(teacher)
    if tag_map is not None:
        n_tags, n_old = tag_map.n_tags, len(tag_map.columns)
    logits, features = all_rows[:, :n_tags], all_rows[:, n_tags:]
    value, d_all = 0.0, np.zeros_like(all_rows)

    def add(tokens, size, columns, mean, gradient) -> None:
        nonlocal value
        share = tokens.sum() / size
        value += mean * share
        d_all[tokens, columns] += gradient * share

    for term, tokens, size in (
        (loss.labelled, ids >= 0, sizes.labelled),
        (loss.unlabelled, ids == NO_GOLD, sizes.unlabelled),
        (loss.per_doc, ids >= 0, sizes.docs),
    ):
        if term is not None and tokens.any():
            said_of = said[tokens, :n_old] if n_old else None
            valued = term(logits[tokens], ids[tokens], said_of, tag_map)
            add(tokens, size, slice(n_tags), *valued)
    unlabelled = ids == NO_GOLD
    if loss.features is not None and features.shape[1] and unlabelled.any():
        valued = loss.features(features[unlabelled], said[unlabelled, n_old:])
        add(unlabelled, sizes.unlabelled, slice(n_tags, None), *valued)
    ends = np.cumsum([len(doc_rows) for doc_rows in rows])
    return float(value), np.split(d_all, ends[:-1])


def configure_cross_entropy() -> Loss:
    """`retainer.CrossEntropy.v1`: plain fine-tuning."""
    return Loss(lambda logits, gold, *_: cross_entropy(logits, gold), False)


def configure_interpolated_distillation(
    alpha: float, temperature: float, reduction: Literal["tokens", "batchmean"]
) -> Loss:
    """`retainer.InterpolatedDistillation.v1`: alpha 1 is plain fine-tuning.

    reduction: what the teacher's term is a mean over. `tokens`: labelled tokens.
        `batchmean`: docs, as `torch.nn.KLDivLoss` has it and many recipes copy: the
        longer the docs, the less of the cross-entropy is left.
    """
    if not (0 <= alpha <= 1 and temperature > 0):
        raise UserError(
            "InterpolatedDistillation expects alpha from 0 to 1 and a temperature "
            f"above 0, but has alpha = {alpha} and temperature = {temperature}. "
            "Usual are 0.5 and 2.0."
        )
    if reduction not in ("tokens", "batchmean"):
        raise UserError(
            "InterpolatedDistillation expects `reduction` to be tokens or batchmean, "
            f"but it is '{reduction}'. Take tokens, unless you compare the two."
        )
    if alpha == 1:
        return configure_cross_entropy()

    def both(logits, gold, teacher, tag_map) -> Valued:
        return interpolate(
            logits,
            gold,
            teacher,
            tag_map.columns,
            alpha=alpha,
            temperature=temperature,
        )

    def ce_only(logits, gold, teacher, tag_map) -> Valued:
        loss, d_logits = cross_entropy(logits, gold)
        return alpha * loss, alpha * d_logits

    def kl_only(logits, gold, teacher, tag_map) -> Valued:
        kl, d_old = distil(logits[:, tag_map.columns], teacher, temperature=temperature)
        weight = (1 - alpha) * temperature**2
        d_logits = np.zeros_like(logits)
        d_logits[:, tag_map.columns] = weight * d_old
        return weight * kl, d_logits

    if reduction == "batchmean":
        return Loss(ce_only, True, per_doc=kl_only)
    return Loss(both, True)
