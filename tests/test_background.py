"""Against torch written out in probabilities, and by what each loss is for."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from spacy import registry
from test_losses import TOLERANCE, assert_same, by_autograd, draw
from torch.nn import functional as F

from retainer.background import (
    NEVER,
    background_of,
    configure_background_distillation,
    distil_background,
    match_features,
    silence,
    teach_outside,
    unite_outside,
)
from retainer.decoding import softmax
from retainer.errors import UserError
from retainer.losses import TagMap, cross_entropy

# tokens, the student's tags, the student's column of each of the teacher's tags, and
# which of these is O
SHAPES = [
    pytest.param(0, 5, [0, 1, 2], 0, id="no-tokens"),
    pytest.param(1, 5, [0, 1, 2], 0, id="one-token"),
    pytest.param(9, 5, [0, 1, 2], 0, id="teacher-first"),
    pytest.param(9, 6, [4, 0, 2], 1, id="permuted"),
    pytest.param(9, 4, [3, 2, 1, 0], 2, id="nothing-new"),
    pytest.param(9, 6, [5], 0, id="all-new-but-O"),
]
TEMPERATURES = [0.5, 1.0, 2.0, 5.0]
# in the tests of properties: O and PER are old, the others new
TAGS = ["B-CAR", "O", "B-PER", "I-PER", "I-CAR"]
OLD = TagMap(np.array([2, 3, 1]), outside=1, n_tags=5)


def torch_background(
    X: torch.Tensor, teacher: np.ndarray, tag_map: TagMap, temperature: float
) -> torch.Tensor:
    """KL(q || p), summed over tokens, p(O) being all that is not an old entity tag."""
    p = torch.softmax(X / temperature, dim=1)
    new = [i for i in range(X.shape[1]) if i not in tag_map.columns]
    pooled = [
        p[:, [tag_map.outside, *new]].sum(dim=1) if i == tag_map.outside else p[:, i]
        for i in tag_map.columns
    ]
    q = torch.softmax(torch.tensor(teacher) / temperature, dim=1)
    return F.kl_div(torch.stack(pooled, dim=1).log(), q, reduction="sum")


def torch_teach(
    X: torch.Tensor,
    gold: np.ndarray,
    teacher: np.ndarray,
    tag_map: TagMap,
    temperature: float,
) -> torch.Tensor:
    out = torch.tensor(gold == tag_map.outside)
    ce = F.cross_entropy(X[~out], torch.tensor(gold)[~out], reduction="sum")
    q = torch.zeros_like(X)
    q[:, tag_map.columns] = torch.softmax(torch.tensor(teacher) / temperature, dim=1)
    log_p = torch.log_softmax(X[out] / temperature, dim=1)
    return ce + temperature**2 * F.kl_div(log_p, q[out], reduction="sum")


def torch_unite(
    X: torch.Tensor,
    gold: np.ndarray,
    teacher: np.ndarray,
    tag_map: TagMap,
    never: tuple[int, ...] = (),
) -> torch.Tensor:
    """never: the student's columns of old tags that the teacher never says."""
    p = torch.softmax(X, dim=1)
    united = [i for i in tag_map.columns if i not in never]
    ce = torch.zeros(())
    for p_token, tag in zip(p, gold, strict=True):
        mass = p_token[united].sum() if tag == tag_map.outside else p_token[tag]
        ce = ce - mass.log()
    return ce + torch_background(X, teacher, tag_map, 1.0)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n_tokens", "n_tags", "columns", "outside"), SHAPES)
def test_distil_background_equals_autograd(
    n_tokens: int, n_tags: int, columns: list, outside: int, temperature: float
) -> None:
    logits, _, teacher = draw(n_tokens, n_tags, len(columns))
    tag_map = TagMap(np.array(columns), columns[outside], n_tags)
    expected = by_autograd(
        lambda X: torch_background(X, teacher, tag_map, temperature), logits
    )
    ours = distil_background(logits, teacher, tag_map, temperature=temperature)
    assert_same(ours, expected)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("n_tokens", "n_tags", "columns", "outside"), SHAPES)
def test_teach_outside_equals_autograd(
    n_tokens: int, n_tags: int, columns: list, outside: int, temperature: float
) -> None:
    logits, gold, teacher = draw(n_tokens, n_tags, len(columns))
    tag_map = TagMap(np.array(columns), columns[outside], n_tags)
    gold[::2] = tag_map.outside
    expected = by_autograd(
        lambda X: torch_teach(X, gold, teacher, tag_map, temperature), logits
    )
    ours = teach_outside(logits, gold, teacher, tag_map, temperature=temperature)
    assert_same(ours, expected)


@pytest.mark.parametrize(("n_tokens", "n_tags", "columns", "outside"), SHAPES)
def test_unite_outside_equals_autograd(
    n_tokens: int, n_tags: int, columns: list, outside: int
) -> None:
    logits, gold, teacher = draw(n_tokens, n_tags, len(columns))
    tag_map = TagMap(np.array(columns), columns[outside], n_tags)
    gold[::2] = tag_map.outside
    expected = by_autograd(lambda X: torch_unite(X, gold, teacher, tag_map), logits)
    assert_same(unite_outside(logits, gold, teacher, tag_map), expected)


def test_unite_outside_leaves_out_what_the_teacher_never_says() -> None:
    """Tokens that the corpus calls O are no PER if PER is annotated."""
    logits, gold, teacher = draw(9, 6, 4)
    tag_map = TagMap(np.array([4, 0, 2, 5]), outside=0, n_tags=6)
    gold[::2] = 0
    said = silence(teacher, np.array([False, False, True, True]), 1)
    expected = by_autograd(
        lambda X: torch_unite(X, gold, said, tag_map, never=(2, 5)), logits
    )
    assert_same(unite_outside(logits, gold, said, tag_map), expected)


def run_background(X, gold, teacher):
    return distil_background(X, teacher, OLD, temperature=2.0)


def run_teach(X, gold, teacher):
    return teach_outside(X, gold, teacher, OLD, temperature=2.0)


def run_unite(X, gold, teacher):
    return unite_outside(X, gold, teacher, OLD)


FUNCTIONS = pytest.mark.parametrize("function", [run_background, run_teach, run_unite])


def make() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student's logits, gold ids, half of them O, and teacher's logits, in float64."""
    logits, gold, teacher = draw(8, len(TAGS), len(OLD.columns))
    gold[::2] = OLD.outside
    return logits, gold, teacher


@FUNCTIONS
def test_gradient_is_the_slope_in_any_direction(function: Callable) -> None:
    logits, gold, teacher = make()
    _, d_logits = function(logits, gold, teacher)
    direction = np.random.default_rng(1).normal(size=logits.shape)
    up, _ = function(logits + 1e-5 * direction, gold, teacher)
    down, _ = function(logits - 1e-5 * direction, gold, teacher)
    slope = (d_logits * direction).sum()
    assert abs(slope) > 1e-3
    assert_allclose((up - down) / 2e-5, slope, rtol=1e-6)


@FUNCTIONS
def test_gradient_rows_sum_to_zero(function: Callable) -> None:
    _, d_logits = function(*make())
    assert (np.abs(d_logits).max(axis=1) > 1e-6).all()
    assert_allclose(d_logits.sum(axis=1), 0, atol=1e-12)


@FUNCTIONS
def test_precision_is_that_of_the_logits(function: Callable) -> None:
    logits, gold, teacher = make()
    exact, d_exact = function(logits, gold, teacher)
    loss, d_logits = function(
        logits.astype(np.float32), gold, teacher.astype(np.float32)
    )
    assert isinstance(loss, float)
    assert d_logits.dtype == np.float32
    assert_allclose(loss, exact, rtol=1e-5)
    assert_allclose(d_logits, d_exact, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@FUNCTIONS
def test_huge_logits_do_not_overflow(function: Callable, dtype: type) -> None:
    logits, gold, teacher = make()
    huge = (1e4 * logits).astype(dtype), gold, (1e3 * teacher).astype(dtype)
    loss, d_logits = function(*huge)
    assert np.isfinite(loss)
    assert np.isfinite(d_logits).all()
    assert loss > 0


@FUNCTIONS
def test_arguments_are_left_as_they_are(function: Callable) -> None:
    given = make()
    function(*given)
    for array, before in zip(given, make(), strict=True):
        assert_array_equal(array, before)


@FUNCTIONS
def test_a_constant_a_row_is_of_no_meaning(function: Callable) -> None:
    logits, gold, teacher = make()
    shift = np.arange(8.0)[:, None]
    moved = function(logits + shift, gold, teacher - 2 * shift)
    assert_same(moved, function(logits, gold, teacher))


@FUNCTIONS
def test_one_token_is_a_share_of_the_mean(function: Callable) -> None:
    logits, gold, teacher = make()
    loss, d_logits = function(logits, gold, teacher)
    alone = [function(logits[[i]], gold[[i]], teacher[[i]]) for i in range(len(logits))]
    assert_allclose(np.mean([value for value, _ in alone]), loss, **TOLERANCE)
    d_alone = np.concatenate([d for _, d in alone])
    assert_allclose(d_alone / len(logits), d_logits, **TOLERANCE)


def test_background_is_O_and_what_is_new() -> None:
    assert_array_equal(background_of(5, OLD), [True, True, False, False, True])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_how_the_students_background_is_shared_is_free(temperature: float) -> None:
    """It may say something new wherever its teacher says O."""
    rng = np.random.default_rng(3)
    teacher = rng.normal(size=(6, 3)) * 3
    q = softmax(teacher / temperature)
    p = np.zeros((6, 5))
    p[:, OLD.columns] = q
    p[:, [1, 0, 4]] = q[:, [2]] * rng.dirichlet([1, 1, 1], size=6)
    logits = temperature * np.log(p) + np.arange(6)[:, None]
    loss, d_logits = distil_background(logits, teacher, OLD, temperature=temperature)
    assert_allclose(loss, 0, atol=1e-12)
    assert_allclose(d_logits, 0, atol=1e-12)


def test_a_new_tag_in_place_of_an_old_entity_costs() -> None:
    """Where the teacher is sure of PER, the student gains by saying PER alone."""
    teacher = np.log([[0.98, 0.01, 0.01]])
    logits = np.log([[0.6, 0.1, 0.2, 0.05, 0.05]])
    loss, d_logits = distil_background(logits, teacher, OLD, temperature=1.0)
    assert loss > 1
    assert_array_equal(d_logits[0] < 0, [tag == "B-PER" for tag in TAGS])


def test_with_nothing_new_it_is_plain_distillation() -> None:
    """By hand: p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4)."""
    tag_map = TagMap(np.array([0, 1, 2]), outside=0, n_tags=3)
    loss, d_logits = distil_background(
        np.log([[0.5, 0.25, 0.25]]), np.log([[0.25, 0.5, 0.25]]), tag_map, temperature=1
    )
    assert_allclose(loss, 0.25 * np.log(0.5) + 0.5 * np.log(2))
    assert_allclose(d_logits, [[0.25, -0.25, 0]], atol=1e-15)


@pytest.mark.parametrize("gold", [0, 4, 2, 3])
def test_on_entities_the_teacher_is_not_asked(gold: int) -> None:
    logits, ids, teacher = make()
    ids[3] = gold
    before = run_teach(logits, ids, teacher)
    teacher[3] = 7.0, -5.0, 1.0
    assert_same(run_teach(logits, ids, teacher), before)
    teacher[3] = 0.0, -np.inf, -np.inf  # nor if it cannot see them
    assert_same(run_teach(logits, ids, teacher), before)


def test_entities_alone_are_cross_entropy() -> None:
    logits, gold, teacher = make()
    gold[gold == OLD.outside] = 2
    assert_same(run_teach(logits, gold, teacher), cross_entropy(logits, gold))


@pytest.mark.parametrize("function", [run_teach, run_unite])
def test_what_the_teacher_is_sure_of_is_no_O(function: Callable) -> None:
    """On a token that the corpus calls O, the gradient leads to the teacher's PER."""
    logits = np.zeros((1, 5))
    _, d_logits = function(logits, np.array([1]), np.array([[20.0, 0.0, 0.0]]))
    assert_array_equal(d_logits[0] < 0, [tag == "B-PER" for tag in TAGS])
    _, d_plain = cross_entropy(logits, np.array([1]))
    assert_array_equal(d_plain[0] < 0, [tag == "O" for tag in TAGS])


@pytest.mark.parametrize("function", [run_teach, run_unite])
def test_new_tags_are_unlearnt_where_the_corpus_says_O(function: Callable) -> None:
    logits = np.zeros((1, 5))
    logits[:, [0, 4]] = 3.0
    _, d_logits = function(logits, np.array([1]), np.array([[0.0, 0.0, 9.0]]))
    assert (d_logits[0, [0, 4]] > 0.1).all()
    assert d_logits[0, 1] < 0


def test_a_silenced_teacher_leads_to_O() -> None:
    """PER is annotated: where the corpus says O, there is none, whatever he says."""
    said = silence(np.array([[20.0, 0.0, 0.0]]), np.array([True, True, False]), 2)
    for function in (run_teach, run_unite):
        _, d_logits = function(np.zeros((1, 5)), np.array([1]), said)
        assert_array_equal(d_logits[0] < 0, [tag == "O" for tag in TAGS])


def test_what_the_teacher_cannot_see_is_left_out() -> None:
    """-inf stands where it has no pieces: such tokens count, and add nothing."""
    logits, gold, teacher = make()
    gold[:] = OLD.outside
    teacher[[0, 5]] = -np.inf, -np.inf, 0.0
    seen = np.isfinite(teacher).all(axis=1)
    for function in (run_background, run_teach):
        loss, d_logits = function(logits, gold, teacher)
        alone, d_alone = function(logits[seen], gold[seen], teacher[seen])
        assert_array_equal(d_logits[~seen], 0)
        assert_allclose(loss, alone * 6 / 8, **TOLERANCE)
        assert_allclose(d_logits[seen], d_alone * 6 / 8, **TOLERANCE)


@pytest.mark.parametrize("tags", [[1, 1, 0], [1, 0, 0]])
def test_silence_shows_nothing_to_a_teacher_who_cannot_see(tags: list) -> None:
    teacher = np.array([[-np.inf, -np.inf, 0.0], [3.0, 1.0, 2.0]])
    said = silence(teacher, np.array(tags, dtype=bool), 2)
    assert_array_equal(np.isfinite(said).all(axis=1), [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tags", [[0, 1, 0, 0, 0], [1, 1, 0, 0, 1], [1, 1, 0, 1, 1]])
def test_silence_gives_to_O_what_it_takes(tags: list, dtype: type) -> None:
    _, _, teacher = draw(6, 5, 5)
    teacher = teacher.astype(dtype)
    before = teacher.copy()
    silenced = np.array(tags, dtype=bool)
    said = silence(teacher, silenced, 2)
    assert_array_equal(teacher, before)
    assert said.dtype == dtype
    p, q = softmax(teacher), softmax(said)
    others = ~silenced
    others[2] = False
    tolerance = {"rtol": 1e-9 if dtype == np.float64 else 1e-5}
    assert_allclose(q[:, 2], p[:, 2] + p[:, silenced].sum(axis=1), **tolerance)
    assert_allclose(q[:, others], p[:, others], **tolerance)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_what_is_silenced_is_never_said(temperature: float) -> None:
    """Not even by a teacher who is very sure of it."""
    _, _, teacher = draw(6, 5, 5)
    teacher = np.concatenate([teacher, teacher * 1e3]).astype(np.float32)
    said = silence(teacher, np.array([True, True, False, False, True]), 2)
    assert_array_equal(softmax(said / temperature)[:, [0, 1, 4]], 0)
    assert_array_equal(said[:, [0, 1, 4]], np.float32(NEVER))


def test_silence_of_nothing() -> None:
    _, _, teacher = draw(6, 5, 5)
    assert_array_equal(silence(teacher, np.zeros(5, dtype=bool), 2), teacher)
    empty = silence(np.zeros((0, 5)), np.ones(5, dtype=bool), 2)
    assert empty.shape == (0, 5)


def draw_features(n_tokens: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """The student's and the teacher's, in float64."""
    rng = np.random.default_rng(n_tokens + 10 * n_features)
    ours, theirs = rng.normal(size=(2, n_tokens, n_features)) * 3
    return ours, theirs


@pytest.mark.parametrize(("n_tokens", "n_features"), [(0, 4), (1, 4), (9, 4), (9, 1)])
def test_match_features_equals_autograd(n_tokens: int, n_features: int) -> None:
    ours, theirs = draw_features(n_tokens, n_features)
    t = torch.tensor(theirs)
    expected = by_autograd(
        lambda X: ((X - t).norm(dim=1) / t.norm(dim=1)).square().sum(), ours
    )
    assert_same(match_features(ours, theirs), expected)


def test_match_features_by_hand() -> None:
    """|(1, 2) - (3, 4)|^2 = 8, of |(3, 4)|^2 = 25."""
    value, gradient = match_features(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    assert_allclose(value, 8 / 25)
    assert_allclose(gradient, [[-4 / 25, -4 / 25]])


def test_features_that_the_teacher_did_not_give_add_nothing() -> None:
    ours, theirs = draw_features(8, 4)
    theirs[[0, 5]] = -np.inf
    known = np.isfinite(theirs).all(axis=1)
    value, gradient = match_features(ours, theirs)
    alone, gradient_alone = match_features(ours[known], theirs[known])
    assert_array_equal(gradient[~known], 0)
    assert_allclose(value, alone * 6 / 8, **TOLERANCE)
    assert_allclose(gradient[known], gradient_alone * 6 / 8, **TOLERANCE)
    value, gradient = match_features(ours, np.full_like(ours, -np.inf))
    assert value == 0.0
    assert_array_equal(gradient, 0)


@pytest.mark.parametrize("scale", [0.01, 7.0, 1e4])
def test_the_size_of_features_is_of_no_meaning(scale: float) -> None:
    ours, theirs = draw_features(8, 4)
    value, gradient = match_features(ours, theirs)
    scaled = match_features(scale * ours, scale * theirs)
    assert_same(scaled, (value, gradient / scale))


def test_features_that_are_the_teachers_cost_nothing() -> None:
    _, theirs = draw_features(8, 4)
    value, gradient = match_features(theirs, theirs)
    assert value == 0.0
    assert_array_equal(gradient, 0)
    assert match_features(np.zeros_like(theirs), theirs)[0] == pytest.approx(1.0)


def test_a_teacher_without_a_word_is_no_division_by_zero() -> None:
    value, gradient = match_features(np.ones((1, 4)), np.zeros((1, 4)))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_precision_is_that_of_the_features() -> None:
    ours, theirs = draw_features(8, 4)
    theirs[2] = -np.inf
    before = ours.copy(), theirs.copy()
    exact, d_exact = match_features(ours, theirs)
    value, gradient = match_features(ours.astype("f"), theirs.astype("f"))
    assert isinstance(value, float)
    assert gradient.dtype == np.float32
    assert_allclose(value, exact, rtol=1e-5)
    assert_allclose(gradient, d_exact, atol=1e-5)
    assert_array_equal((ours, theirs), before)


@pytest.mark.parametrize("n_features", [0, 3, 5])
def test_teacher_of_another_width(n_features: int) -> None:
    message = rf"encoder has 4 features.*but it has {n_features}\. Set `feature_weight`"
    with pytest.raises(UserError, match=message):
        match_features(np.zeros((2, 4)), np.zeros((2, n_features)))


@pytest.mark.parametrize("outside", ["teacher", "union"])
def test_settings_reach_the_terms(outside: str) -> None:
    logits, gold, teacher = make()
    loss = configure_background_distillation(outside, ["PER"], True, 3.0, 0.7, 2.0, 0.4)
    assert loss.needs_teacher
    assert (loss.annotated, loss.pseudo_labels) == (["PER"], True)
    assert loss.per_doc is None
    labelled = (
        teach_outside(logits, gold, teacher, OLD, temperature=3.0)
        if outside == "teacher"
        else unite_outside(logits, gold, teacher, OLD)
    )
    assert_same(loss.labelled(logits, gold, teacher, OLD), labelled)
    kl, d_logits = distil_background(logits, teacher, OLD, temperature=2.0)
    expected = 0.7 * 4 * kl, 0.7 * 4 * d_logits
    assert_same(loss.unlabelled(logits, gold, teacher, OLD), expected)
    matched, d_features = match_features(logits, 2 * logits + 1)
    ours = loss.features(logits, 2 * logits + 1)
    assert_same(ours, (0.4 * matched, 0.4 * d_features))


@pytest.mark.parametrize("outside", ["teacher", "union"])
def test_without_weight_unlabelled_tokens_are_not_looked_at(outside: str) -> None:
    loss = configure_background_distillation(outside, "auto", False, 1.0, 0.0, 1.0, 0.0)
    assert loss.unlabelled is None
    assert loss.features is None
    assert (loss.annotated, loss.pseudo_labels) == ("auto", False)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("outside", "O"),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("unlabelled_temperature", 0.0),
        ("unlabelled_temperature", float("nan")),
        ("unlabelled_weight", -0.1),
        ("unlabelled_weight", float("nan")),
        ("feature_weight", -0.1),
        ("feature_weight", float("nan")),
    ],
)
def test_settings_out_of_range(setting: str, value: str | float) -> None:
    settings = {
        "outside": "teacher",
        "annotated": "auto",
        "pseudo_labels": False,
        "temperature": 1.0,
        "unlabelled_weight": 1.0,
        "unlabelled_temperature": 1.0,
        "feature_weight": 1.0,
        setting: value,
    }
    with pytest.raises(UserError, match=rf"has .*\b{setting} = {value}[,.]"):
        configure_background_distillation(**settings)


def test_it_is_registered() -> None:
    name = "retainer.BackgroundDistillation.v1"
    assert registry.misc.get(name) is configure_background_distillation
