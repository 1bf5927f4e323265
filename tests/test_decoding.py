from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from spacy import registry

from retainer.decoding import (
    Decoder,
    configure_greedy_decoder,
    configure_viterbi_decoder,
    decode_greedy,
    decode_viterbi,
    softmax,
    span_confidences,
)
from retainer.labels import legal_transitions

SCHEMES = {
    "BIO": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "BIO, O last": ["I-PER", "B-PER", "O"],
    "BIOES": ["O", "B-PER", "I-PER", "E-PER", "S-PER"],
    "IO": ["O", "I-PER", "I-LOC"],
}
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def is_legal(path: list[int], legal: np.ndarray) -> bool:
    return all(legal[before, after] for before, after in pairwise([-1, *path]))


def total(logits: np.ndarray, path: list[int]) -> float:
    return sum(logits[token_i, tag_i] for token_i, tag_i in enumerate(path))


def legal_paths(n_tokens: int, legal: np.ndarray) -> list[tuple[int, ...]]:
    every = product(range(legal.shape[1]), repeat=n_tokens)
    return [path for path in every if is_legal(path, legal)]


@pytest.mark.parametrize("n_tokens", [0, 1, 2, 4])
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(deadline=None, max_examples=20)
@given(rng=seeds)
def test_viterbi_finds_the_best_of_all_legal_paths(
    scheme: str, n_tokens: int, rng: np.random.Generator
) -> None:
    tags = SCHEMES[scheme]
    legal = legal_transitions(tags)
    logits = rng.normal(size=(n_tokens, len(tags)))
    best = max(legal_paths(n_tokens, legal), key=lambda path: total(logits, path))
    assert_array_equal(decode_viterbi(logits, legal), best)


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(deadline=None, max_examples=20)
@given(rng=seeds)
def test_viterbi_is_as_good_as_any_among_ties(
    scheme: str, rng: np.random.Generator
) -> None:
    tags = SCHEMES[scheme]
    legal = legal_transitions(tags)
    logits = rng.integers(0, 3, size=(3, len(tags))).astype(float)
    path = decode_viterbi(logits, legal).tolist()
    assert is_legal(path, legal)
    assert total(logits, path) == max(total(logits, p) for p in legal_paths(3, legal))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(deadline=None, max_examples=20)
@given(rng=seeds, n_tokens=st.integers(1, 60))
def test_viterbi_is_never_illegal(
    scheme: str, rng: np.random.Generator, n_tokens: int
) -> None:
    tags = SCHEMES[scheme]
    legal = legal_transitions(tags)
    logits = rng.normal(size=(n_tokens, len(tags)), scale=100).astype(np.float32)
    assert is_legal(decode_viterbi(logits, legal).tolist(), legal)


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(deadline=None, max_examples=20)
@given(rng=seeds, n_tokens=st.integers(1, 60))
def test_viterbi_is_greedy_where_that_is_legal(
    scheme: str, rng: np.random.Generator, n_tokens: int
) -> None:
    legal = legal_transitions(SCHEMES[scheme])
    logits = rng.normal(size=(n_tokens, legal.shape[1])).astype(np.float32)
    before = -1
    for row in logits:  # move each greatest logit to a tag that is legal there
        best, wanted = row.argmax(), rng.choice(np.flatnonzero(legal[before]))
        row[best], row[wanted] = row[wanted], row[best]
        before = wanted
    assert is_legal(logits.argmax(axis=1).tolist(), legal)
    assert_array_equal(decode_viterbi(logits, legal), decode_greedy(logits, legal))


@settings(deadline=None, max_examples=20)
@given(rng=seeds, n_tokens=st.integers(0, 20))
def test_greedy_takes_the_best_tag_of_each_token(
    rng: np.random.Generator, n_tokens: int
) -> None:
    logits = rng.normal(size=(n_tokens, 5))
    expected = [max(range(5), key=row.__getitem__) for row in logits]
    nothing_is_legal = np.zeros((6, 5), dtype=bool)
    assert_array_equal(decode_greedy(logits, nothing_is_legal), expected)


@pytest.mark.parametrize(
    ("rows", "greedy", "viterbi"),
    [
        # the columns are O, B-PER, I-PER, B-LOC, I-LOC
        ([[0, 2, 3, 0, 0]], [2], [1]),
        ([[3, 2, 0, 0, 0], [0, 0, 3, 0, 0]], [0, 2], [1, 2]),
        ([[9, 2, 0, 0, 0], [0, 1, 3, 0, 0]], [0, 2], [0, 1]),
        ([[0, 3, 0, 2, 0], [0, 0, 0, 0, 3]], [1, 4], [3, 4]),
        ([[0, 3, 0, 0, 0], [0, 0, 2, 0, 2.5]], [1, 4], [1, 2]),
    ],
)
def test_paths_by_hand(rows: list, greedy: list[int], viterbi: list[int]) -> None:
    logits, legal = np.array(rows), legal_transitions(SCHEMES["BIO"])
    assert decode_greedy(logits, legal).tolist() == greedy
    assert decode_viterbi(logits, legal).tolist() == viterbi


@pytest.mark.parametrize("decode", [decode_greedy, decode_viterbi])
def test_token_without_pieces_is_outside(decode: Decoder) -> None:
    logits = np.array([[0, 9, 0, 0, 0], [0, 0, 0, 0, 0], [0, 8, 9, 0, 0]], dtype=float)
    logits[1, 1:] = -np.inf
    path = decode(logits, legal_transitions(SCHEMES["BIO"]))
    assert path[:2].tolist() == [1, 0]
    assert span_confidences(logits, path, [(1, 2, "PER")]) == [1.0]


@pytest.mark.parametrize("decode", [decode_greedy, decode_viterbi])
def test_empty_doc(decode: Decoder) -> None:
    logits = np.zeros((0, 5), dtype=np.float32)
    path = decode(logits, legal_transitions(SCHEMES["BIO"]))
    assert path.shape == (0,)
    assert np.issubdtype(path.dtype, np.integer)
    assert span_confidences(logits, path, []) == []


def test_softmax_by_hand() -> None:
    p = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]]
    # a constant a row changes nothing, however large
    logits = np.array(
        [np.log(p[0]), np.log(p[1]) + 1e4, [-1e4, -np.inf, -np.inf]], dtype=np.float64
    )
    assert_allclose(softmax(logits), p, rtol=1e-9)
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("spans", "confidences"),
    [
        ([], []),
        ([(0, 1, "PER")], [0.5]),
        ([(0, 2, "PER")], [0.6]),
        ([(0, 2, "PER"), (3, 4, "LOC")], [0.6, 0.4]),
        ([(0, 4, "PER")], [0.5]),
    ],
)
def test_confidence_is_the_mean_probability_of_the_path(
    spans: list, confidences: list[float]
) -> None:
    p = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3], [0.0, 0.6, 0.4]])
    with np.errstate(divide="ignore"):
        logits = np.log(p)
    path = np.array([1, 2, 0, 2])  # its probabilities: 0.5, 0.7, 0.4, 0.4
    ours = span_confidences(logits, path, spans)
    assert ours == pytest.approx(confidences)
    assert all(type(confidence) is float for confidence in ours)


@pytest.mark.parametrize(
    ("name", "make", "decode"),
    [
        ("retainer.GreedyDecoder.v1", configure_greedy_decoder, decode_greedy),
        ("retainer.ViterbiDecoder.v1", configure_viterbi_decoder, decode_viterbi),
    ],
)
def test_decoders_are_registered(
    name: str, make: Callable[[], Decoder], decode: Decoder
) -> None:
    assert registry.misc.get(name) is make
    assert make() is decode
