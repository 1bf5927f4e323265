from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from spacy import registry
from torch.nn import functional as F

from retainer.background import configure_background_distillation, match_features
from retainer.errors import UserError
from retainer.losses import (
    NO_GOLD,
    NO_PIECES,
    Loss,
    Sizes,
    TagMap,
    Term,
    configure_cross_entropy,
    configure_interpolated_distillation,
    cross_entropy,
    distil,
    interpolate,
    log_softmax,
    loss_of_docs,
)

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}

# tokens, the student's tags, the student's column of each of the teacher's tags
SHAPES = [
    pytest.param(0, 5, [0, 1, 2], id="no-tokens"),
    pytest.param(1, 5, [0, 1, 2], id="one-token"),
    pytest.param(7, 5, [0, 1, 2], id="teacher-first"),
    pytest.param(7, 5, [4, 0, 2], id="permuted"),
    pytest.param(7, 4, [3, 2, 1, 0], id="nothing-new"),
    pytest.param(7, 6, [5], id="one-old-tag"),
]


def draw(n_tokens: int, n_tags: int, n_old: int) -> tuple:
    """Student's logits, gold ids and teacher's logits, in float64."""
    rng = np.random.default_rng(n_tokens + 10 * n_tags)
    return (
        rng.normal(size=(n_tokens, n_tags)) * 3,
        rng.integers(n_tags, size=n_tokens),
        rng.normal(size=(n_tokens, n_old)) * 3,
    )


def by_autograd(
    function: Callable[[torch.Tensor], torch.Tensor], logits: np.ndarray
) -> tuple[float, np.ndarray]:
    """The value of a sum over tokens and its gradient, both per token."""
    X = torch.tensor(logits, requires_grad=True)
    Y = function(X) / max(len(logits), 1)
    Y.backward()
    return Y.item(), X.grad.numpy()


def torch_ce(X: torch.Tensor, gold: np.ndarray) -> torch.Tensor:
    return F.cross_entropy(X, torch.tensor(gold), reduction="sum")


def torch_kl(X: torch.Tensor, teacher: np.ndarray, temperature: float) -> torch.Tensor:
    q = torch.softmax(torch.tensor(teacher) / temperature, dim=1)
    log_p = torch.log_softmax(X / temperature, dim=1)
    return F.kl_div(log_p, q, reduction="sum")


def assert_same(ours: tuple[float, np.ndarray], expected: tuple) -> None:
    assert_allclose(ours[0], expected[0], **TOLERANCE)
    assert_allclose(ours[1], expected[1], **TOLERANCE)
    assert ours[1].shape == expected[1].shape


@pytest.mark.parametrize(("n_tokens", "n_tags", "columns"), SHAPES)
def test_log_softmax_equals_torch(n_tokens: int, n_tags: int, columns: list) -> None:
    logits, _, _ = draw(n_tokens, n_tags, len(columns))
    expected = torch.log_softmax(torch.tensor(logits), dim=1).numpy()
    assert_allclose(log_softmax(logits), expected, **TOLERANCE)


@pytest.mark.parametrize(("n_tokens", "n_tags", "columns"), SHAPES)
def test_cross_entropy_equals_autograd(
    n_tokens: int, n_tags: int, columns: list
) -> None:
    logits, gold, _ = draw(n_tokens, n_tags, len(columns))
    expected = by_autograd(lambda X: torch_ce(X, gold), logits)
    assert_same(cross_entropy(logits, gold), expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("n_tokens", "n_tags", "columns"), SHAPES)
def test_distil_equals_autograd(
    n_tokens: int, n_tags: int, columns: list, temperature: float
) -> None:
    logits, _, teacher = draw(n_tokens, n_tags, len(columns))
    student = logits[:, columns]
    expected = by_autograd(lambda X: torch_kl(X, teacher, temperature), student)
    assert_same(distil(student, teacher, temperature=temperature), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("n_tokens", "n_tags", "columns"), SHAPES)
def test_interpolate_equals_autograd(
    n_tokens: int, n_tags: int, columns: list, temperature: float, alpha: float
) -> None:
    logits, gold, teacher = draw(n_tokens, n_tags, len(columns))

    def function(X: torch.Tensor) -> torch.Tensor:
        kl = torch_kl(X[:, columns], teacher, temperature)
        return alpha * torch_ce(X, gold) + (1 - alpha) * temperature**2 * kl

    ours = interpolate(
        logits, gold, teacher, np.array(columns), alpha=alpha, temperature=temperature
    )
    assert_same(ours, by_autograd(function, logits))


FUNCTIONS = {
    "cross_entropy": lambda X, gold, teacher: cross_entropy(X, gold),
    "distil": lambda X, gold, teacher: distil(X[:, :4], teacher, temperature=2.0),
    "interpolate": lambda X, gold, teacher: interpolate(
        X, gold, teacher, np.array([4, 1, 0, 3]), alpha=0.4, temperature=2.0
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_is_the_slope_in_any_direction(name: str) -> None:
    logits, gold, teacher = draw(6, 5, 4)
    _, d_logits = FUNCTIONS[name](logits, gold, teacher)
    direction = np.random.default_rng(1).normal(size=logits.shape)
    step = 1e-5 * direction
    up, _ = FUNCTIONS[name](logits + step, gold, teacher)
    down, _ = FUNCTIONS[name](logits - step, gold, teacher)
    slope = (d_logits * direction[:, : d_logits.shape[1]]).sum()
    assert abs(slope) > 1e-3
    assert_allclose((up - down) / 2e-5, slope, rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_rows_sum_to_zero(name: str) -> None:
    logits, gold, teacher = draw(6, 5, 4)
    _, d_logits = FUNCTIONS[name](logits, gold, teacher)
    assert np.abs(d_logits).max() > 1e-3
    assert_allclose(d_logits.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_precision_is_that_of_the_logits(name: str) -> None:
    logits, gold, teacher = draw(6, 5, 4)
    exact, d_exact = FUNCTIONS[name](logits, gold, teacher)
    halved = logits.astype(np.float32), gold, teacher.astype(np.float32)
    loss, d_logits = FUNCTIONS[name](*halved)
    assert type(loss) is float
    assert d_logits.dtype == np.float32
    assert_allclose(loss, exact, rtol=1e-5)
    assert_allclose(d_logits, d_exact, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_huge_logits_do_not_overflow(name: str) -> None:
    logits, gold, teacher = draw(6, 5, 4)
    loss, d_logits = FUNCTIONS[name](logits * 1e4, gold, teacher * 1e4)
    assert np.isfinite(loss)
    assert np.isfinite(d_logits).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_logits_are_left_as_they_are(name: str) -> None:
    logits, gold, teacher = draw(6, 5, 4)
    FUNCTIONS[name](logits, gold, teacher)
    assert_array_equal(logits, draw(6, 5, 4)[0])
    assert_array_equal(teacher, draw(6, 5, 4)[2])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_student_that_equals_its_teacher_loses_nothing(temperature: float) -> None:
    """Up to a constant a row, which no probability feels; new tags may differ."""
    logits, gold, _ = draw(6, 5, 3)
    columns = np.array([4, 0, 2])
    teacher = logits[:, columns] + np.arange(6)[:, None]
    loss, d_logits = interpolate(
        logits, gold, teacher, columns, alpha=0.0, temperature=temperature
    )
    assert_allclose(loss, 0, atol=1e-12)
    assert_allclose(d_logits, 0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_another_student_loses_something(temperature: float) -> None:
    logits, _, teacher = draw(6, 5, 5)
    assert distil(logits, teacher, temperature=temperature)[0] > 0.01


def test_distillation_touches_no_new_column() -> None:
    logits, gold, teacher = draw(6, 5, 3)
    columns = np.array([4, 0, 2])
    _, d_logits = interpolate(
        logits, gold, teacher, columns, alpha=0.0, temperature=2.0
    )
    assert_array_equal(d_logits[:, [1, 3]], 0)
    assert (d_logits[:, columns] != 0).all()


def test_values_by_hand() -> None:
    # p = (1/2, 1/4, 1/4) and the teacher's q = (1/4, 3/4) over the last two tags
    logits = np.log([[0.5, 0.25, 0.25]])
    teacher = np.log([[0.25, 0.75]])
    ce, d_ce = cross_entropy(logits, np.array([1]))
    assert_allclose(ce, np.log(4))
    assert_allclose(d_ce, [[0.5, -0.75, 0.25]])
    kl, d_kl = distil(logits[:, 1:], teacher, temperature=1.0)
    assert_allclose(kl, 0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert_allclose(d_kl, [[0.25, -0.25]])


@pytest.mark.parametrize(
    ("gold", "sizes"),
    [
        ([], (1, 1, 1)),
        ([[]], (1, 1, 1)),
        ([[NO_GOLD, NO_GOLD]], (1, 2, 1)),
        ([[NO_PIECES, NO_PIECES]], (1, 1, 1)),
        ([[0, NO_GOLD, NO_PIECES], [], [3]], (2, 1, 2)),
        ([[0, 1, 2], [NO_GOLD, NO_GOLD]], (3, 2, 1)),
    ],
)
def test_tokens_and_docs_are_counted(gold: list, sizes: tuple) -> None:
    arrays = [np.array(ids, dtype=int) for ids in gold]
    assert Sizes.of(arrays) == Sizes(*sizes)


COLUMNS = np.array([4, 0, 2])
TAG_MAP = TagMap(COLUMNS, outside=0, n_tags=5)
LENGTHS = [3, 0, 5, 1]
ALL = list(range(sum(LENGTHS)))
LOSSES = {
    "cross_entropy": configure_cross_entropy(),
    "distillation": configure_interpolated_distillation(0.3, 2.0, "tokens"),
    "batchmean": configure_interpolated_distillation(0.3, 2.0, "batchmean"),
    "teacher_outside": configure_background_distillation(
        "teacher", "auto", False, 2.0, 0.7, 3.0, 0.0
    ),
    "union": configure_background_distillation(
        "union", "auto", False, 1.0, 0.7, 3.0, 0.0
    ),
    "features": configure_background_distillation(
        "teacher", "auto", False, 2.0, 0.7, 3.0, 0.5
    ),
}
# tokens of LENGTHS without pieces, and without a label
HOLES = [
    pytest.param([], [], id="none"),
    pytest.param([0, 4, 8], [], id="no-pieces"),
    pytest.param([], [1, 5, 6], id="no-label"),
    pytest.param([0, 1, 2], [8], id="docs-without"),
    pytest.param([3, 8], [4, 5, 6, 7], id="one-doc-has-labels"),
    pytest.param([1, 3], [i for i in ALL if i not in (1, 3)], id="all-unlabelled"),
]


def split_by_doc(array: np.ndarray) -> list[np.ndarray]:
    return np.split(array, np.cumsum(LENGTHS)[:-1])


def batch(unseen: list[int], unlabelled: list[int]) -> tuple[list, list, list]:
    """Rows, gold and teacher's rows of four docs; some tokens without a label.

    unseen: tokens without pieces, with their rows: -inf but for one tag.
    """
    logits, gold, teacher = draw(sum(LENGTHS), 5, 3)
    gold[unlabelled], gold[unseen] = NO_GOLD, NO_PIECES
    logits[unseen, 1:] = -np.inf
    teacher[unseen, 1:] = -np.inf
    return split_by_doc(logits), split_by_doc(gold), split_by_doc(teacher)


def run(
    loss: Loss, docs: list[int], unseen: list[int], unlabelled: list[int]
) -> tuple[float, list]:
    rows, gold, teacher = batch(unseen, unlabelled)
    return loss_of_docs(
        loss,
        [rows[i] for i in docs],
        [gold[i] for i in docs],
        [teacher[i] for i in docs] if loss.needs_teacher else None,
        TAG_MAP if loss.needs_teacher else None,
        Sizes.of(gold),
    )


@pytest.mark.parametrize(("unseen", "unlabelled"), HOLES)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_the_sum_of_means(
    name: str, unseen: list[int], unlabelled: list[int]
) -> None:
    """Each over its own tokens; what none looks at has no gradient."""
    loss, rows_by_doc = LOSSES[name], batch(unseen, unlabelled)
    rows, gold, teacher = map(np.concatenate, rows_by_doc)
    is_labelled, is_open = gold >= 0, gold == NO_GOLD
    n_docs = sum(any(ids >= 0) for ids in rows_by_doc[1])
    expected, d_expected = 0.0, np.zeros_like(rows)
    for term, tokens, weight in (
        (loss.labelled, is_labelled, 1),
        (loss.unlabelled, is_open, 1),
        (loss.per_doc, is_labelled, sum(is_labelled) / max(n_docs, 1)),
    ):
        if term is not None and tokens.any():
            value, d_tokens = term(rows[tokens], gold[tokens], teacher[tokens], TAG_MAP)
            expected += weight * value
            d_expected[tokens] += weight * d_tokens
    value, d_rows = run(loss, [0, 1, 2, 3], unseen, unlabelled)
    assert [len(d_doc) for d_doc in d_rows] == LENGTHS
    assert_allclose(value, expected, **TOLERANCE)
    assert_allclose(np.concatenate(d_rows), d_expected, **TOLERANCE)
    felt = is_labelled | (is_open if loss.unlabelled else False)
    assert_array_equal(np.concatenate(d_rows).any(axis=1), felt)


@pytest.mark.parametrize(
    "groups",
    [
        [[0], [1], [2], [3]],
        [[0, 1], [2, 3]],
        [[3, 1], [2, 0]],
        [[2], [3, 0, 1]],
    ],
)
@pytest.mark.parametrize(("unseen", "unlabelled"), HOLES)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_does_not_depend_on_the_grouping(
    name: str, unseen: list[int], unlabelled: list[int], groups: list[list[int]]
) -> None:
    whole, d_whole = run(LOSSES[name], [0, 1, 2, 3], unseen, unlabelled)
    parts = [run(LOSSES[name], group, unseen, unlabelled) for group in groups]
    assert_allclose(sum(loss for loss, _ in parts), whole, **TOLERANCE)
    order = [doc_i for group in groups for doc_i in group]
    d_parts = [d_doc for _, d_docs in parts for d_doc in d_docs]
    for doc_i, d_doc in zip(order, d_parts, strict=True):
        assert_allclose(d_doc, d_whole[doc_i], **TOLERANCE)


@pytest.mark.parametrize("hole", ["unseen", "unlabelled"])
@pytest.mark.parametrize("name", ["cross_entropy", "distillation", "batchmean"])
def test_docs_without_a_label_teach_nothing(name: str, hole: str) -> None:
    holes = {"unseen": [], "unlabelled": [], hole: ALL}
    loss, d_rows = run(LOSSES[name], [0, 1, 2, 3], **holes)
    assert loss == 0.0
    assert [d_doc.shape for d_doc in d_rows] == [(n, 5) for n in LENGTHS]
    assert_array_equal(np.concatenate(d_rows), 0)


@pytest.mark.parametrize("name", LOSSES)
def test_what_has_no_pieces_teaches_nothing(name: str) -> None:
    loss, d_rows = run(LOSSES[name], [0, 1, 2, 3], ALL, [])
    assert loss == 0.0
    assert_array_equal(np.concatenate(d_rows), 0)


@pytest.mark.parametrize("name", LOSSES)
def test_no_docs(name: str) -> None:
    assert run(LOSSES[name], [], [], []) == (0.0, [])


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_has_the_precision_of_the_rows(name: str) -> None:
    rows, gold, teacher = batch([0], [4])
    _, d_rows = loss_of_docs(
        LOSSES[name],
        [doc_rows.astype(np.float32) for doc_rows in rows],
        gold,
        [doc_rows.astype(np.float32) for doc_rows in teacher],
        TAG_MAP,
        Sizes.of(gold),
    )
    assert {d_doc.dtype for d_doc in d_rows} == {np.dtype(np.float32)}


def mean_times(factor: float) -> Term:
    """A term that is easily told from others: factor * the mean over all tokens."""
    return lambda X, *_: (factor * X.mean(), np.full_like(X, factor / X.size))


# labelled tokens, unlabelled tokens, those without pieces, in each of two docs
MIXES = [(2, 3, 0), (4, 3, 0), (2, 6, 0), (2, 3, 5), (8, 1, 1)]


@pytest.mark.parametrize("mix", MIXES)
def test_terms_do_not_feel_how_many_other_tokens_there_are(mix: tuple) -> None:
    """Each token has the row (7, 9), of which 8 is the mean."""
    loss = Loss(mean_times(1), needs_teacher=False, unlabelled=mean_times(100))
    ids = np.repeat([3, NO_GOLD, NO_PIECES], mix)
    rows = np.tile([7.0, 9.0], (len(ids), 1))
    rows[ids == NO_PIECES] = 0.0, -np.inf
    gold = [ids, ids]
    value, d_rows = loss_of_docs(loss, [rows, rows], gold, None, None, Sizes.of(gold))
    assert value == pytest.approx(8 + 800)
    d_all = np.concatenate(d_rows)
    weights = [d_all[np.concatenate(gold) == kind].sum() for kind in np.unique(ids)]
    assert weights == pytest.approx([0, 100, 1] if mix[2] else [100, 1])


@pytest.mark.parametrize("reduction", ["tokens", "batchmean"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_reduction_equals_torch(
    alpha: float, temperature: float, reduction: str
) -> None:
    """Three docs of four tokens: torch's `batchmean` divides by the three."""
    logits, gold, teacher = draw(12, 5, 3)
    X = torch.tensor(logits, requires_grad=True)
    log_p = torch.log_softmax(X[:, COLUMNS] / temperature, dim=1)
    q = torch.softmax(torch.tensor(teacher) / temperature, dim=1)
    shape = (3, 4, 3) if reduction == "batchmean" else (12, 3)
    kl = F.kl_div(log_p.view(shape), q.view(shape), reduction="batchmean")
    ce = F.cross_entropy(X, torch.tensor(gold))
    expected = alpha * ce + (1 - alpha) * temperature**2 * kl
    expected.backward()
    docs = [np.split(array, 3) for array in (logits, gold, teacher)]
    loss = configure_interpolated_distillation(alpha, temperature, reduction)
    value, d_rows = loss_of_docs(loss, *docs, TAG_MAP, Sizes.of(docs[1]))
    assert_same((value, np.concatenate(d_rows)), (expected.item(), X.grad.numpy()))


@pytest.mark.parametrize(("reduction", "times"), [("tokens", 1), ("batchmean", 3)])
def test_only_batchmean_feels_the_length_of_docs(reduction: str, times: int) -> None:
    """Docs that say the same three times; with alpha 0 there is the teacher alone."""
    loss = configure_interpolated_distillation(0.0, 2.0, reduction)
    values = []
    for n in (1, 3):
        docs = [[np.concatenate([a] * n) for a in part] for part in batch([], [])]
        values.append(loss_of_docs(loss, *docs, TAG_MAP, Sizes.of(docs[1]))[0])
    assert values[1] == pytest.approx(times * values[0])


def test_batchmean_leaves_the_cross_entropy_as_it_is() -> None:
    """In docs of any length: the teacher's term alone grows over it."""
    rows, gold, teacher = batch([], [])
    same = [doc_rows[:, COLUMNS] for doc_rows in rows]  # a teacher who agrees
    loss = LOSSES["batchmean"]
    value, _ = loss_of_docs(loss, rows, gold, same, TAG_MAP, Sizes.of(gold))
    ce, _ = cross_entropy(np.concatenate(rows), np.concatenate(gold))
    assert value == pytest.approx(0.3 * ce)
    assert loss_of_docs(loss, rows, gold, teacher, TAG_MAP, Sizes.of(gold))[0] > value


def test_alpha_of_one_is_fine_tuning_without_a_teacher() -> None:
    logits, gold, _ = draw(6, 5, 3)
    loss = configure_interpolated_distillation(1.0, 2.0, "tokens")
    assert not loss.needs_teacher
    assert_same(loss.labelled(logits, gold, None, None), cross_entropy(logits, gold))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
def test_less_alpha_needs_a_teacher(alpha: float) -> None:
    logits, gold, teacher = draw(6, 5, 3)
    loss = configure_interpolated_distillation(alpha, 3.0, "tokens")
    assert loss.needs_teacher
    expected = interpolate(logits, gold, teacher, COLUMNS, alpha=alpha, temperature=3.0)
    assert_same(loss.labelled(logits, gold, teacher, TAG_MAP), expected)


@pytest.mark.parametrize("name", ["cross_entropy", "distillation", "batchmean"])
def test_classic_losses_know_nothing_of_the_regime(name: str) -> None:
    assert (LOSSES[name].annotated, LOSSES[name].pseudo_labels) == (None, False)


@pytest.mark.parametrize(
    ("alpha", "temperature"),
    [(-0.1, 2.0), (1.1, 2.0), (float("nan"), 2.0), (0.5, 0.0), (0.5, -1.0), (1.0, 0.0)],
)
def test_settings_out_of_range(alpha: float, temperature: float) -> None:
    message = rf"has alpha = {alpha} and temperature = {temperature}\. Usual are"
    with pytest.raises(UserError, match=message):
        configure_interpolated_distillation(alpha, temperature, "tokens")


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_reduction_that_is_none(alpha: float) -> None:
    with pytest.raises(UserError, match="tokens or batchmean, but it is 'sum'"):
        configure_interpolated_distillation(alpha, 2.0, "sum")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("retainer.CrossEntropy.v1", configure_cross_entropy),
        (
            "retainer.InterpolatedDistillation.v1",
            configure_interpolated_distillation,
        ),
    ],
)
def test_losses_are_registered(name: str, make: Callable[..., Loss]) -> None:
    assert registry.misc.get(name) is make


def test_what_the_teacher_cannot_see_is_left_out() -> None:
    """-inf stands where the teacher has no pieces for a token."""
    logits = np.array([[0.0, 1.0], [2.0, 0.0]], dtype=np.float32)
    teacher = np.array([[0.0, -np.inf], [0.0, 1.0]], dtype=np.float32)
    loss, gradient = distil(logits, teacher, temperature=2.0)
    alone, gradient_alone = distil(logits[1:], teacher[1:], temperature=2.0)
    assert loss == pytest.approx(alone / 2)
    assert not gradient[0].any()
    np.testing.assert_allclose(gradient[1], gradient_alone[0] / 2)


FEATURES = LOSSES["features"]
N_FEATURES = 4


def featured(unseen: list[int], unlabelled: list[int]) -> tuple[list, list, list]:
    """As `batch`, with features behind the logits of student and teacher."""
    rows, gold, teacher = batch(unseen, unlabelled)
    rng = np.random.default_rng(7)
    ours, theirs = rng.normal(size=(2, len(ALL), N_FEATURES))
    ours[unseen] = theirs[unseen] = -np.inf
    return (
        [np.hstack(both) for both in zip(rows, split_by_doc(ours), strict=True)],
        gold,
        [np.hstack(both) for both in zip(teacher, split_by_doc(theirs), strict=True)],
    )


def share_of(
    given: tuple[list, list, list], docs: list[int], loss: Loss = FEATURES
) -> tuple[float, list]:
    rows, gold, teacher = ([part[i] for i in docs] for part in given)
    return loss_of_docs(loss, rows, gold, teacher, TAG_MAP, Sizes.of(given[1]))


@pytest.mark.parametrize(("unseen", "unlabelled"), HOLES)
def test_features_are_matched_on_unlabelled_tokens(
    unseen: list[int], unlabelled: list[int]
) -> None:
    """A mean over these alone; what is said by logits is as without features."""
    given = featured(unseen, unlabelled)
    value, d_rows = share_of(given, [0, 1, 2, 3])
    without, d_without = run(FEATURES, [0, 1, 2, 3], unseen, unlabelled)
    assert [d.shape for d in d_rows] == [(n, 5 + N_FEATURES) for n in LENGTHS]
    rows, gold, teacher = map(np.concatenate, given)
    d_all, is_open = np.concatenate(d_rows), gold == NO_GOLD
    matched, d_matched = match_features(rows[is_open, 5:], teacher[is_open, 3:])
    assert_allclose(value - without, 0.5 * matched, rtol=1e-9, atol=1e-12)
    assert_array_equal(d_all[:, :5], np.concatenate(d_without))
    assert_allclose(d_all[is_open, 5:], 0.5 * d_matched, **TOLERANCE)
    assert_array_equal(d_all[~is_open, 5:], 0)
    assert_array_equal(d_all[:, 5:].any(axis=1), is_open)


@pytest.mark.parametrize(
    "groups", [[[0], [1], [2], [3]], [[3, 1], [2, 0]], [[2], [3, 0, 1]]]
)
@pytest.mark.parametrize(("unseen", "unlabelled"), HOLES)
def test_features_do_not_depend_on_the_grouping(
    unseen: list[int], unlabelled: list[int], groups: list[list[int]]
) -> None:
    given = featured(unseen, unlabelled)
    whole, d_whole = share_of(given, [0, 1, 2, 3])
    parts = [share_of(given, group) for group in groups]
    assert_allclose(sum(value for value, _ in parts), whole, **TOLERANCE)
    order = [doc_i for group in groups for doc_i in group]
    d_parts = [d_doc for _, d_docs in parts for d_doc in d_docs]
    for doc_i, d_doc in zip(order, d_parts, strict=True):
        assert_allclose(d_doc, d_whole[doc_i], **TOLERANCE)


@pytest.mark.parametrize(("unseen", "unlabelled"), HOLES)
def test_rows_without_features_need_none_of_the_teacher(
    unseen: list[int], unlabelled: list[int]
) -> None:
    """Those of `get_loss`, of which only logits are known: nothing is matched."""
    given = featured(unseen, unlabelled)
    rows = [doc_rows[:, :5] for doc_rows in given[0]]
    value, d_rows = share_of((rows, *given[1:]), [0, 1, 2, 3])
    expected, d_expected = run(FEATURES, [0, 1, 2, 3], unseen, unlabelled)
    assert value == expected
    for d_doc, d_doc_expected in zip(d_rows, d_expected, strict=True):
        assert_array_equal(d_doc, d_doc_expected)


def test_without_weight_features_have_no_gradient() -> None:
    given = featured([0], [4, 5])
    value, d_rows = share_of(given, [0, 1, 2, 3], LOSSES["teacher_outside"])
    assert value == run(LOSSES["teacher_outside"], [0, 1, 2, 3], [0], [4, 5])[0]
    assert_array_equal(np.concatenate(d_rows)[:, 5:], 0)


def test_features_that_the_teacher_did_not_give() -> None:
    """Of an unlabelled token of the corpus, say: it counts, and adds nothing."""
    given = featured([], [1, 4, 5, 8])
    given[2][0][1, 3:] = -np.inf
    _, d_rows = share_of(given, [0, 1, 2, 3])
    known = [4, 5, 8]
    rows, _, teacher = map(np.concatenate, given)
    _, d_matched = match_features(rows[known, 5:], teacher[known, 3:])
    d_all = np.concatenate(d_rows)[:, 5:]
    assert_array_equal(d_all[1], 0)
    assert_allclose(d_all[known], 0.5 * d_matched * 3 / 4, **TOLERANCE)


def test_features_of_float32_have_such_a_gradient() -> None:
    rows, gold, teacher = featured([0], [4, 5])
    singles = [[a.astype(np.float32) for a in part] for part in (rows, teacher)]
    value, d_rows = share_of((singles[0], gold, singles[1]), [0, 1, 2, 3])
    assert value == pytest.approx(share_of((rows, gold, teacher), [0, 1, 2, 3])[0])
    assert {d_doc.dtype for d_doc in d_rows} == {np.dtype(np.float32)}
