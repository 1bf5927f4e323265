from pathlib import Path

import numpy as np
import pytest
from conftest import SENTENCES
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tokenizers import Regex, normalizers
from transformers import PreTrainedTokenizerFast

from retainer.checkpoint import load_checkpoint
from retainer.pieces import (
    NO_PIECE,
    Windows,
    cut,
    encode,
    first_piece_of_words,
    group_by_length,
    pick_first,
    place,
    special_pieces,
)

WORDS = [sentence.split() for sentence in SENTENCES]
LONG = [word for words in WORDS * 3 for word in words]


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> PreTrainedTokenizerFast:
    return load_checkpoint(str(checkpoint))[1]


@pytest.mark.parametrize(
    ("n_pieces", "capacity", "overlap", "starts"),
    [
        (0, 6, 3, [0]),
        (1, 6, 3, [0]),
        (6, 6, 3, [0]),
        (7, 6, 3, [0, 1]),
        (9, 6, 3, [0, 3]),
        (10, 6, 3, [0, 3, 4]),
        (12, 6, 0, [0, 6]),
        (13, 6, 0, [0, 6, 7]),
        (10, 6, 5, [0, 1, 2, 3, 4]),
        (3, 1, 0, [0, 1, 2]),
    ],
)
def test_cut(n_pieces: int, capacity: int, overlap: int, starts: list[int]) -> None:
    assert cut(n_pieces, capacity, overlap) == starts


@st.composite
def cuts(draw) -> tuple[int, int, int, list[int]]:
    """Pieces, capacity, overlap of less than half of it, and where windows start."""
    n_pieces = draw(st.integers(0, 60))
    capacity = draw(st.integers(1, 20))
    overlap = draw(st.integers(0, (capacity - 1) // 2))
    return n_pieces, capacity, overlap, cut(n_pieces, capacity, overlap)


@settings(deadline=None)
@given(cuts())
def test_windows_cover_every_piece(drawn: tuple) -> None:
    n_pieces, capacity, overlap, starts = drawn
    ends = [min(start + capacity, n_pieces) for start in starts]
    assert (starts[0], ends[-1]) == (0, n_pieces)
    lengths = {end - start for start, end in zip(starts, ends, strict=True)}
    assert lengths == {min(capacity, n_pieces)}
    shared = [end - start for start, end in zip(starts[1:], ends[:-1], strict=True)]
    assert all(overlap <= n < capacity for n in shared)


@pytest.mark.parametrize(
    ("first_pieces", "starts", "n_pieces", "window", "position"),
    [
        ([], [0], 0, [], []),
        ([NO_PIECE], [0], 0, [-1], [-1]),
        ([0, 1, 3], [0], 5, [0, 0, 0], [0, 1, 3]),
        ([0, NO_PIECE, 3], [0], 5, [0, -1, 0], [0, -1, 3]),
        # windows [0, 6) and [1, 7): the document's own ends are no cuts
        ([0, 3, 6], [0, 1], 7, [0, 0, 1], [0, 3, 5]),
        # windows [0, 6), [3, 9) and [4, 10); on a tie the first of them
        (
            [0, 1, 2, 3, 4, NO_PIECE, 5, 6, 7, 8, 9],
            [0, 3, 4],
            10,
            [0, 0, 0, 0, 0, -1, 1, 1, 2, 2, 2],
            [0, 1, 2, 3, 4, -1, 2, 3, 3, 4, 5],
        ),
    ],
)
def test_place(
    first_pieces: list[int],
    starts: list[int],
    n_pieces: int,
    window: list[int],
    position: list[int],
) -> None:
    ours = place(np.array(first_pieces, dtype=int), starts, n_pieces, capacity=6)
    assert_array_equal(ours[0], window)
    assert_array_equal(ours[1], position)


def distance_to_cut(piece_i: int, start: int, end: int, n_pieces: int) -> float:
    """-1 outside of the window, infinite in a window without cuts."""
    if not start <= piece_i < end:
        return -1
    left = piece_i - start if start > 0 else np.inf
    right = end - 1 - piece_i if end < n_pieces else np.inf
    return min(left, right)


@settings(deadline=None)
@given(cuts(), st.data())
def test_words_are_read_farthest_from_a_cut(drawn: tuple, data) -> None:
    n_pieces, capacity, overlap, starts = drawn
    pieces = st.sampled_from([NO_PIECE, *range(n_pieces)])
    first_pieces = data.draw(st.lists(pieces, max_size=30))
    window, position = place(
        np.array(first_pieces, dtype=int), starts, n_pieces, capacity
    )
    for token_i, piece_i in enumerate(first_pieces):
        if piece_i == NO_PIECE:
            assert (window[token_i], position[token_i]) == (NO_PIECE, NO_PIECE)
            continue
        distances = [
            distance_to_cut(piece_i, start, min(start + capacity, n_pieces), n_pieces)
            for start in starts
        ]
        chosen = window[token_i]
        assert distances[chosen] == max(distances) >= overlap // 2
        assert starts[chosen] + position[token_i] == piece_i


@pytest.mark.parametrize(
    ("word_ids", "words", "n", "expected"),
    [
        ([], [], 0, []),
        ([], [], 2, [-1, -1]),
        ([0], [0], 1, [0]),
        ([0, 0, 1], [0, 2], 3, [0, -1, 2]),
        ([0, 2, 2], [0, 1, 2], 3, [0, -1, 1]),
        ([1, 1, 3], [2, 3, 5, 6], 8, [-1, -1, -1, 0, -1, -1, 2, -1]),
    ],
)
def test_first_piece_of_words(
    word_ids: list[int], words: list[int], n: int, expected: list[int]
) -> None:
    ours = first_piece_of_words(word_ids, np.array(words, dtype=int), n)
    assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("lengths", "pieces", "ends", "expected"),
    [
        ([], [], [], []),
        ([0, 0], [], [4], []),
        ([1, 2, 1], [1, 2, 3, 3], [5], [1, 2, 3]),
        ([1, 0, 3], [1, 3, 5, 6], [4, 4], [1, 5]),
        ([2], [1, 9], [5, 3], [1]),  # both at one piece from an edge: the earlier
        ([2], [3, 8], [5, 8], [3]),
        ([2], [3, 10], [5, 8], [10]),
    ],
)
def test_pick_first(
    lengths: list[int], pieces: list[int], ends: list[int], expected: list[int]
) -> None:
    """Windows are padded to 4 or 8 pieces."""
    width = 4 if max(ends, default=0) <= 4 else 8
    ours = pick_first(
        np.array(lengths, dtype=int), np.array(pieces, dtype=int), width, np.array(ends)
    )
    assert_array_equal(ours, expected)


@settings(deadline=None)
@given(st.data())
def test_pick_first_is_farthest_from_an_edge(data) -> None:
    """Of the first piece that a word has in each window."""
    ends = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    width = max(ends)
    there = [w * width + i for w, end in enumerate(ends) for i in range(end)]
    words = data.draw(
        st.lists(st.lists(st.sampled_from(there), unique=True).map(sorted))
    )
    expected = []
    for word in filter(None, words):
        firsts = [
            min(piece for piece in word if piece // width == w)
            for w in sorted({piece // width for piece in word})
        ]
        expected.append(
            max(
                firsts,
                key=lambda piece: min(
                    piece % width, ends[piece // width] - 1 - piece % width
                ),
            )
        )
    lengths = np.array([len(word) for word in words], dtype=int)
    pieces = np.array([piece for word in words for piece in word], dtype=int)
    ours = pick_first(lengths, pieces, width, np.array(ends))
    assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("lengths", "max_pieces", "groups"),
    [
        ([], 6, []),
        ([2, 9, 3], 6, [[1], [2, 0]]),
        ([4, 4, 4], 8, [[0, 1], [2]]),
        ([5, 3, 5, 3], 10, [[0, 2], [1, 3]]),
        ([5, 3, 5, 3], 20, [[0, 2, 1, 3]]),
        ([1, 1], 1, [[0], [1]]),
        ([7, 8], 6, [[1], [0]]),
        ([0, 0, 0], 2, [[0, 1], [2]]),
    ],
)
def test_group_by_length(
    lengths: list[int], max_pieces: int, groups: list[list[int]]
) -> None:
    ours = group_by_length(np.array(lengths, dtype=int), max_pieces)
    assert [group.tolist() for group in ours] == groups


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 60))
def test_groups_hold_each_window_once_within_the_budget(
    lengths: list[int], max_pieces: int
) -> None:
    groups = group_by_length(np.array(lengths, dtype=int), max_pieces)
    order = [window_i for group in groups for window_i in group.tolist()]
    assert sorted(order) == list(range(len(lengths)))
    sizes = [lengths[window_i] for window_i in order]
    assert sizes == sorted(sizes, reverse=True)
    for group in groups:
        longest = max(lengths[window_i] for window_i in group)
        assert len(group) == 1 or len(group) * longest <= max_pieces


@pytest.mark.parametrize(
    ("max_padding", "groups"),
    [
        (0, [[0, 2], [1, 3], [4]]),
        (1, [[0, 2], [1, 3], [4]]),
        (2, [[0, 2, 1], [3, 4]]),
        (4, [[0, 2, 1, 3], [4]]),
        (8, [[0, 2, 1, 3, 4]]),
        (None, [[0, 2, 1, 3, 4]]),
    ],
)
def test_group_by_padding(max_padding: int | None, groups: list[list[int]]) -> None:
    ours = group_by_length(np.array([5, 3, 5, 3, 1]), 100, max_padding)
    assert [group.tolist() for group in ours] == groups


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 20), max_size=30), st.integers(1, 60), st.integers(0, 40)
)
def test_groups_are_padded_no_more_than_they_may(
    lengths: list[int], max_pieces: int, max_padding: int
) -> None:
    """And else they are as without a limit: each window once, within the budget."""
    groups = group_by_length(np.array(lengths, dtype=int), max_pieces, max_padding)
    order = [window_i for group in groups for window_i in group.tolist()]
    assert sorted(order) == list(range(len(lengths)))
    for group in groups:
        sizes = [max(lengths[window_i], 1) for window_i in group]
        assert len(group) * max(sizes) - sum(sizes) <= max_padding
        assert len(group) == 1 or len(group) * max(sizes) <= max_pieces
    anything = group_by_length(np.array(lengths, dtype=int), max_pieces, 10**6)
    unlimited = group_by_length(np.array(lengths, dtype=int), max_pieces, None)
    assert list(map(list, anything)) == list(map(list, unlimited))


def encode_one(
    tokenizer: PreTrainedTokenizerFast, words: list[str], *, window: int, overlap: int
) -> Windows:
    (windows,) = encode(tokenizer, [words], window=window, overlap=overlap)
    return windows


def ids_of(windows: Windows) -> list[list[int]]:
    return [ids.tolist() for ids in windows.ids]


def read_ids(windows: Windows) -> list[int]:
    """The piece at which each token is read; NO_PIECE where it is not."""
    places = zip(windows.token_window, windows.token_position, strict=True)
    return [
        NO_PIECE if window_i == NO_PIECE else int(windows.ids[window_i][position])
        for window_i, position in places
    ]


@pytest.mark.parametrize(
    "words", [*WORDS, ["Anna"]], ids=["en", "de", "zh", "ru", "one-word"]
)
def test_short_text_is_encoded_as_the_checkpoint_was_trained(
    any_checkpoint: Path, words: list[str]
) -> None:
    _, tokenizer = load_checkpoint(str(any_checkpoint))
    windows = encode_one(tokenizer, words, window=500, overlap=8)
    expected = tokenizer(words, is_split_into_words=True)
    assert ids_of(windows) == [expected.input_ids]
    word_ids = expected.word_ids()
    assert windows.token_position.tolist() == [
        word_ids.index(token_i) for token_i in range(len(words))
    ]
    assert not windows.token_window.any()


@pytest.mark.parametrize("words", [[], ["Anna"]])
def test_special_pieces_stand_around_every_text(
    any_checkpoint: Path, words: list[str]
) -> None:
    _, tokenizer = load_checkpoint(str(any_checkpoint))
    before, behind = special_pieces(tokenizer)
    bare = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    whole = tokenizer(words, is_split_into_words=True)
    assert [*before, *bare.input_ids, *behind] == whole.input_ids


@pytest.mark.parametrize(
    ("window", "overlap"), [(16, 0), (16, 5), (16, 7), (9, 1), (64, 20), (500, 8)]
)
def test_long_text_is_cut_into_windows(
    tokenizer: PreTrainedTokenizerFast, window: int, overlap: int
) -> None:
    whole = tokenizer(LONG, is_split_into_words=True)
    pieces, word_ids = whole.input_ids[1:-1], whole.word_ids()
    windows = encode_one(tokenizer, LONG, window=window, overlap=overlap)
    assert ids_of(windows) == [
        [0, *pieces[start : start + window - 2], 2]
        for start in cut(len(pieces), window - 2, overlap)
    ]
    assert max(map(len, windows.ids)) <= window
    assert read_ids(windows) == [
        whole.input_ids[word_ids.index(token_i)] for token_i in range(len(LONG))
    ]


def test_each_token_is_read_among_its_neighbours(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Not only the right piece, but the right one of several that are the same."""
    whole = tokenizer(LONG, is_split_into_words=True)
    word_ids = whole.word_ids()
    windows = encode_one(tokenizer, LONG, window=16, overlap=6)
    assert len(windows.ids) > 10
    for token_i, window_i in enumerate(windows.token_window):
        start = word_ids.index(token_i) - windows.token_position[token_i] + 1
        inner = windows.ids[window_i][1:-1].tolist()
        assert inner == whole.input_ids[start : start + len(inner)]


def test_docs_do_not_disturb_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    docs = [WORDS[0], [], LONG, ["Anna"]]
    together = list(encode(tokenizer, docs, window=16, overlap=5))
    alone = [encode_one(tokenizer, words, window=16, overlap=5) for words in docs]
    assert list(map(ids_of, together)) == list(map(ids_of, alone))
    for ours, expected in zip(together, alone, strict=True):
        assert_array_equal(ours.token_window, expected.token_window)
        assert_array_equal(ours.token_position, expected.token_position)


def test_no_docs(tokenizer: PreTrainedTokenizerFast) -> None:
    assert list(encode(tokenizer, [], window=16, overlap=5)) == []


@pytest.mark.parametrize("words", [[], [" "], ["\n", "\u3000\t"]], ids=repr)
def test_text_without_pieces(
    tokenizer: PreTrainedTokenizerFast, words: list[str]
) -> None:
    windows = encode_one(tokenizer, words, window=16, overlap=5)
    assert ids_of(windows) == [[0, 2]]
    assert windows.token_window.tolist() == [NO_PIECE] * len(words)
    assert windows.token_position.tolist() == [NO_PIECE] * len(words)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["Anna", " ", "Weber"], [0, 2]),
        (["\n\n", "Anna", "\u00a0", "\t", "Weber", " "], [1, 4]),
        (["Anna", "\x00", "Weber", "\u200b"], [0, 2]),
        (["\u200d", " ", "\x07", "Anna"], [3]),
    ],
)
def test_words_without_pieces_are_passed_over(
    checkpoint: Path, words: list[str], kept: list[int]
) -> None:
    """Checkpoints as a rule have a normalizer that removes control characters."""
    _, tokenizer = load_checkpoint(str(checkpoint))
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex(r"\p{C}"), "")
    windows = encode_one(tokenizer, words, window=64, overlap=5)
    bare = encode_one(tokenizer, [words[i] for i in kept], window=64, overlap=5)
    assert ids_of(windows) == ids_of(bare)
    assert_array_equal(windows.token_position[kept], bare.token_position)
    passed_over = set(range(len(words))) - set(kept)
    assert set(np.flatnonzero(windows.token_window == NO_PIECE)) == passed_over
    assert set(np.flatnonzero(windows.token_position == NO_PIECE)) == passed_over
