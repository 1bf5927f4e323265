"""Distillation that knows what O means: to the corpus, and to the teacher.

What the corpus calls O may be an entity of an old type that nobody annotated, and what
the teacher calls O may be one of a new type. Plain arrays in, mean nats over tokens and
their gradient out; `losses` says the rest.
"""

from typing import Literal

import numpy as np
from thinc.types import Floats2d, Ints1d

from .errors import UserError
from .losses import Loss, TagMap, Valued, cross_entropy, distil, log_softmax

# A logit of what is never said: its softmax is 0 at any temperature up to 100, and
# unlike -inf, which stands for what the teacher cannot see, it can be reckoned with.
NEVER = -1e5
TINY = 1e-6


def log_sum(log_p: Floats2d, columns: np.ndarray) -> Floats2d:
    """log of the sum of some columns' exp, row by row. (T, L) -> (T, 1)"""
    return np.logaddexp.reduce(log_p[:, columns], axis=1, keepdims=True)


def background_of(n_tags: int, tag_map: TagMap) -> np.ndarray:
    """(L,) bool: O, and what the teacher does not know."""
    is_background = np.ones(n_tags, dtype=bool)
    is_background[tag_map.columns] = False
    is_background[tag_map.outside] = True
    return is_background


def distil_background(
    logits: Floats2d, teacher: Floats2d, tag_map: TagMap, *, temperature: float
) -> Valued:
    """KL from the teacher to the student, whose new tags count as O.

    The student's O has the probability of O and of all that the teacher does not know
    (Cermelli et al. 2020, equation 8; there without temperature). So it is free to say
    new things where the teacher says O, and only there.
    logits: (T, L). teacher: (T, K).
    RETURNS: mean nats per token, not yet times T^2, and its gradient by logits, (T, L).
    """
    scaled = logits / temperature
    is_background = background_of(logits.shape[1], tag_map)
    pooled = scaled[:, tag_map.columns]
    total = log_sum(scaled, is_background)
    outside = int(np.flatnonzero(tag_map.columns == tag_map.outside)[0])
    pooled[:, outside] = total[:, 0]
    loss, d_pooled = distil(pooled, teacher / temperature, temperature=1.0)
    d_logits = np.zeros_like(logits)
    d_logits[:, tag_map.columns] = d_pooled
    share = np.exp(scaled[:, is_background] - total)  # of the background's mass
    d_logits[:, is_background] = share * d_pooled[:, outside, None]
    return loss, d_logits / temperature


def match_features(features: Floats2d, teacher: Floats2d) -> Valued:
    """How far the encoder's word is from the teacher's: |h - t|^2 / |t|^2 of a token.

    Most tokens are O without a doubt, and their logits teach next to nothing; their
    features go on teaching (Romero et al. 2015, without its regressor, for student and
    teacher are of one shape).
    features, teacher: (T, D). A token whose features the teacher did not give (-inf)
    adds nothing to the mean.
    RETURNS: mean over tokens, and its gradient by the features, (T, D).
    """
    if features.shape != teacher.shape:
        raise UserError(
            f"A teacher whose encoder has {features.shape[1]} features, as the "
            f"student's, was expected, but it has {teacher.shape[1]}. Set "
            "`feature_weight` of the loss to 0, or give the checkpoint that the "
            "student starts from."
        )
    n_tokens = max(len(features), 1)
    is_seen = np.isfinite(teacher).all(axis=1, keepdims=True)
    apart = np.where(is_seen, features - np.where(is_seen, teacher, 0.0), 0.0)
    size = np.where(is_seen, np.square(teacher).sum(axis=1, keepdims=True), 1.0)
    scaled = apart / np.maximum(size, TINY)
    return float((scaled * apart).sum() / n_tokens), 2 * scaled / n_tokens


def teach_outside(
    logits: Floats2d,
    gold: Ints1d,
    teacher: Floats2d,
    tag_map: TagMap,
    *,
    temperature: float,
) -> Valued:
    """Cross-entropy on annotated entities, the teacher's word on O.

    On O: T^2 * KL(teacher || student) over all tags, the teacher's new ones at 0, for
    a corpus annotates its new types: what it calls O is none of them. On entities the
    teacher is not asked (Monaikul et al. 2021, equations 1 to 3).
    RETURNS: mean nats per token, and its gradient by logits, (T, L).
    """
    n_tokens, is_outside = max(len(gold), 1), gold == tag_map.outside
    d_logits = np.zeros_like(logits)
    entities = ~is_outside
    ce, d_logits[entities] = cross_entropy(logits[entities], gold[entities])
    padded = np.full((int(is_outside.sum()), logits.shape[1]), NEVER, logits.dtype)
    padded[:, tag_map.columns] = teacher[is_outside]
    kl, d_outside = distil(logits[is_outside], padded, temperature=temperature)
    d_logits[is_outside] = d_outside * temperature**2
    shares = entities.sum() / n_tokens, is_outside.sum() / n_tokens
    d_logits *= np.where(is_outside, shares[1], shares[0])[:, None]
    return shares[0] * ce + shares[1] * temperature**2 * kl, d_logits


def unite_outside(
    logits: Floats2d, gold: Ints1d, teacher: Floats2d, tag_map: TagMap
) -> Valued:
    """Cross-entropy for which O is O or any old tag together (Cermelli et al. 2020,
    equation 5), and `distil_background` on every token (equation 8).

    An old tag that the teacher never says (see `silence`) is not among them.
    RETURNS: mean nats per token, and its gradient by logits, (T, L).
    """
    n_tokens, rows = max(len(gold), 1), np.arange(len(gold))
    log_p = log_softmax(logits)
    wanted = np.zeros(logits.shape, dtype=bool)
    wanted[rows, gold] = True
    is_outside = gold == tag_map.outside
    wanted[np.ix_(is_outside, tag_map.columns)] = teacher[is_outside] != NEVER
    log_wanted = np.where(wanted, log_p, -np.inf)
    log_mass = np.logaddexp.reduce(log_wanted, axis=1, keepdims=True)
    d_ce = (np.exp(log_p) - np.exp(log_wanted - log_mass)) / n_tokens
    kl, d_kl = distil_background(logits, teacher, tag_map, temperature=1.0)
    return float(-log_mass.sum() / n_tokens + kl), d_ce + d_kl


def silence(teacher: Floats2d, tags: np.ndarray, outside: int) -> Floats2d:
    """The teacher's logits with the probability of some of its tags given to its O.

    What it cannot see stays at -inf.
    teacher: (T, K). tags: (K,) bool. outside: the teacher's column of O.
    """
    if not tags.any():
        return teacher
    silenced = teacher.copy()
    together = tags.copy()
    together[outside] = True
    silenced[:, outside] = log_sum(teacher, together)[:, 0]
    silenced[:, tags] = np.where(np.isneginf(teacher[:, tags]), -np.inf, NEVER)
    return silenced


def configure_background_distillation(
    outside: Literal["teacher", "union"],
    annotated: Literal["auto"] | list[str],
    pseudo_labels: bool,
    temperature: float,
    unlabelled_weight: float,
    unlabelled_temperature: float,
    feature_weight: float,
) -> Loss:
    """`retainer.BackgroundDistillation.v1`

    outside: what is wanted of a token that the corpus calls O. `teacher`: what the
        teacher says (`teach_outside`); `union`: O or any old tag (`unite_outside`).
        Types that the corpus annotates are no part of either.
    annotated: these types; `auto`: the teacher is asked (see `regimes`).
    pseudo_labels: whether entities that the teacher is sure of, where the corpus says
        O, count as annotated (see `Lessons.relabel`).
    temperature: of the teacher's word on labelled tokens; `union` knows 1 alone.
    unlabelled_weight, unlabelled_temperature: of `distil_background` on tokens without
        gold, those of replayed texts among them.
    feature_weight: of `match_features` on the same tokens.
    """
    numbers = {
        "temperature": temperature,
        "unlabelled_temperature": unlabelled_temperature,
        "unlabelled_weight": unlabelled_weight,
        "feature_weight": feature_weight,
    }
    is_valid = all(
        value > 0 for value in (temperature, unlabelled_temperature)
    ) and all(value >= 0 for value in (unlabelled_weight, feature_weight))
    if outside not in ("teacher", "union") or not is_valid:
        raise UserError(
            "BackgroundDistillation expects `outside` to be teacher or union, "
            "temperatures above 0 and weights of 0 or more, but has outside = "
            f"{outside}, {', '.join(f'{k} = {v}' for k, v in numbers.items())}. "
            "Usual are teacher, and 1.0 for each of the numbers."
        )

    def labelled(logits, gold, teacher, tag_map) -> Valued:
        if outside == "union":
            return unite_outside(logits, gold, teacher, tag_map)
        return teach_outside(logits, gold, teacher, tag_map, temperature=temperature)

    def unlabelled(logits, gold, teacher, tag_map) -> Valued:
        kl, d_logits = distil_background(
            logits, teacher, tag_map, temperature=unlabelled_temperature
        )
        weight = unlabelled_weight * unlabelled_temperature**2
        return weight * kl, weight * d_logits

    def features(ours: Floats2d, theirs: Floats2d) -> Valued:
        loss, d_features = match_features(ours, theirs)
        return feature_weight * loss, feature_weight * d_features

    return Loss(
        labelled,
        needs_teacher=True,
        unlabelled=unlabelled if unlabelled_weight else None,
        features=features if feature_weight else None,
        annotated=annotated,
        pseudo_labels=pseudo_labels,
    )
